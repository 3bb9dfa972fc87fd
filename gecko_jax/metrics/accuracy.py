"""Accuracy and macro-F1: how often the largest logit is the label's, over all records or class by class."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.types import Array


def accuracy(logits: Array, y: Array) -> float | np.ndarray:
    """Returns the share of records whose largest logit (the first, on a tie) is the label's.

    Args:
      logits: [n, c] of one model, or [..., n, c] of several.
      y: [n] labels, integers in 0..c-1.

    Returns:
      A float for one model, an array [...] for several.

    Raises:
      ValueError: wrong shapes, no record, or a NaN among the logits.

    >>> accuracy([[2.0, 1.0], [0.0, 3.0]], [0, 0])
    0.5
    """
    logits, y = _checked(logits, y)
    right = (logits.argmax(-1) == y).mean(-1)
    return float(right) if right.ndim == 0 else right


def macro_f1(logits: Array, y: Array) -> float | np.ndarray:
    """Returns the macro-F1: the mean over classes of 2 TP / (2 TP + FP + FN), whatever the classes' sizes.

    A class that is neither a label nor a prediction does not count, as in scikit-learn's f1_score(average="macro").

    Args:
      logits: [n, c] of one model, or [..., n, c] of several; the first largest logit is the prediction.
      y: [n] labels, integers in 0..c-1.

    Returns:
      A float for one model, an array [...] for several.

    Raises:
      ValueError: wrong shapes, no record, a label that is not an integer in 0..c-1, or a NaN among the logits.

    >>> macro_f1([[2.0, 1.0], [0.0, 3.0], [0.0, 1.0]], [0, 1, 0])  # of two classes, each with F1 = 2/3
    0.6666666666666666
    """
    logits, y = _checked(logits, y)
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"y has dtype {y.dtype}; expected integers, the classes' numbers.")
    for name, value in (("y.min()", int(y.min())), ("y.max()", int(y.max()))):
        checks.in_range(name, value, 0, logits.shape[-1] - 1)
    classes = np.arange(logits.shape[-1])
    labels, predicted = y[:, None] == classes, logits.argmax(-1)[..., None] == classes
    counted = labels.sum(0) + predicted.sum(-2)
    scores = 2 * (labels & predicted).sum(-2) / np.maximum(counted, 1)
    mean = np.mean(scores, axis=-1, where=counted > 0)
    return float(mean) if mean.ndim == 0 else mean


def _checked(logits: Array, y: Array) -> tuple[np.ndarray, np.ndarray]:
    logits, y = np.asarray(logits), np.asarray(y)
    if logits.ndim < 2:
        raise ValueError(f"logits has shape {logits.shape}; expected (..., records, classes).")
    checks.shape("y", y, logits.shape[-2:-1])
    checks.not_empty("y", y)
    if np.isnan(logits).any():
        raise ValueError("logits holds NaN; a diverged model has no accuracy.")
    return logits, y
