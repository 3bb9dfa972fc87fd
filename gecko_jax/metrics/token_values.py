"""Checks of tokens, and of values of single tokens, which the metrics of language models share."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.types import Array

MAX_ROUNDING_NATS = 1e-5  # below 0, of a loss that was computed in single precision


def counted_losses(losses: Array, y: Array) -> tuple[np.ndarray, np.ndarray]:
    """Checks losses of tokens, and returns them with 0 where a token does not count, and whether it counts.

    Args:
      losses: [..., n, t] nats.
      y: [n, t] tokens, negative if they do not count.

    Returns:
      (float64 [..., n, t], bool [n, t]).

    Raises:
      ValueError: other shapes or types, a loss that counts and is NaN or below 0.
    """
    y = as_tokens("y", y)
    values = np.asarray(checks.unmasked("losses", losses))
    if values.dtype.kind not in "iuf" and values.dtype.name != "bfloat16":
        raise ValueError(f"losses has dtype {values.dtype}; expected real numbers, in nats.")
    if values.ndim < 2 or values.shape[-2:] != y.shape:
        raise ValueError(f"losses has shape {values.shape}; expected (..., {y.shape[0]}, {y.shape[1]}), as y has.")
    counts = y >= 0
    values = np.where(counts, values.astype(np.float64), 0.0)
    if np.isnan(values).any():
        where = tuple(int(i) for i in np.argwhere(np.isnan(values))[0])
        raise ValueError(f"losses is NaN at index {where}, of a token that counts; a diverged model has no perplexity.")
    if values.size and values.min() < -MAX_ROUNDING_NATS:
        raise ValueError(
            f"losses runs down to {values.min():.4g}; expected -log p in nats, at least 0. Negate log probabilities."
        )
    return np.maximum(values, 0.0), counts


def as_tokens(name: str, tokens: Array) -> np.ndarray:
    """Returns tokens [n, t] as an array, at least one row of them.

    Raises:
      ValueError: another number of axes, no row, entries that are not integers, or hidden behind a mask.
    """
    tokens = checks.shape(name, np.asarray(checks.unmasked(name, tokens)), (None, None))
    if tokens.dtype.kind not in "iu":
        raise ValueError(f"{name} has dtype {tokens.dtype}; expected tokens, integers (rows, tokens).")
    return checks.not_empty(name, tokens)
