"""Accuracy: how often the largest logit is the label's."""

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
    logits, y = np.asarray(logits), np.asarray(y)
    if logits.ndim < 2:
        raise ValueError(f"logits has shape {logits.shape}; expected (..., records, classes).")
    checks.shape("y", y, logits.shape[-2:-1])
    checks.not_empty("y", y)
    if np.isnan(logits).any():
        raise ValueError("logits holds NaN; a diverged model has no accuracy.")
    right = (logits.argmax(-1) == y).mean(-1)
    return float(right) if right.ndim == 0 else right
