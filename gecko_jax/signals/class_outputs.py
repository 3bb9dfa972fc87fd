"""Checks and arithmetic that the signals of a classifier's logits share. NumPy, float64, exact in the tails.

Logarithms are taken of sums over the other classes, never of a rounded p or 1 - p (log(p + 1e-45)), so that the loss or
entropy of a confident record (p = 1 - 1e-30) keeps its rank; the probabilities themselves tie at 1 - 1e-16. A logit of
-inf (probability 0) is allowed.
"""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.types import Array


def check_logits(logits: Array, y: Array) -> tuple[np.ndarray, np.ndarray]:
    """Returns (logits float64 [..., n, c], the label's column as an index [..., n, 1]).

    Args:
      logits: [..., n, c].
      y: [n] class numbers.

    Raises:
      ValueError: one class, a label per record that is missing or out of range, NaN, +inf, or a row of -inf alone.
    """
    logits, y = np.asarray(logits, np.float64), np.asarray(y)
    if logits.ndim < 2 or logits.shape[-1] < 2:
        raise ValueError(
            f"logits has shape {logits.shape}; expected (..., records, classes) with two classes or more. "
            "A single logit z of a binary model is the pair (0, z)."
        )
    checks.shape("y", y, logits.shape[-2:-1])
    classes = logits.shape[-1]
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"y has dtype {y.dtype}; expected class numbers, not one-hot rows or floats.")
    if y.size and (y.min() < 0 or y.max() >= classes):
        raise ValueError(f"y runs from {y.min()} to {y.max()}; expected 0..{classes - 1}.")
    if np.isnan(logits).any() or np.isposinf(logits).any() or np.isneginf(logits).all(-1).any():
        raise ValueError("logits hold NaN, +inf, or a row of -inf alone; a diverged model cannot be audited.")
    return logits, np.broadcast_to(y[:, None], (*logits.shape[:-1], 1))


def logsumexp(values: np.ndarray) -> np.ndarray:
    """Returns log sum exp over the last axis; -inf if every entry is."""
    top = values.max(-1, keepdims=True)
    top = np.where(np.isneginf(top), 0.0, top)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(values - top).sum(-1)) + top[..., 0]


def at_column(values: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Returns one entry of each row: values [..., n, c], column [..., n, 1] -> [..., n]."""
    return np.take_along_axis(values, column, -1)[..., 0]


def without_column(values: np.ndarray, column: np.ndarray, filler: float) -> np.ndarray:
    """Returns a copy with one column of each row overwritten by `filler`."""
    values = values.copy()
    np.put_along_axis(values, column, filler, -1)
    return values


def posteriors(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (p, log p, log(1 - p)), each [..., n, c].

    Only the largest p can be near 1, where log(1 - p) and log p cancel; there both come from the rest of the row.
    """
    top = logits.argmax(-1)[..., None]
    log_p = logits - logsumexp(logits)[..., None]
    rest = logsumexp(without_column(logits, top, -np.inf))[..., None]
    margin = np.take_along_axis(logits, top, -1) - rest
    np.put_along_axis(log_p, top, -np.logaddexp(0.0, -margin), -1)
    p = np.exp(log_p)
    log_rest = np.log1p(-without_column(p, top, 0.0))
    np.put_along_axis(log_rest, top, -np.logaddexp(0.0, margin), -1)
    return p, log_p, log_rest
