"""Losses of single tokens, which the signals of a language model's logits share."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.signals.class_outputs import logsumexp
from gecko_jax.types import Array


def check_tokens(logits: Array, y: Array) -> tuple[np.ndarray, np.ndarray]:
    """Returns (logits float64 [..., n, t, v], whether a token counts bool [n, t]).

    Args:
      logits: [..., n, t, v]; those at position j are of the token y[:, j], which is the next one of the input.
      y: [n, t] tokens in 0..v-1; a negative one does not count (padding, a prompt).

    Raises:
      ValueError: other shapes or types, tokens out of range, NaN, +inf, or a record without a token that counts.
    """
    logits, y = np.asarray(logits, np.float64), np.asarray(y)
    if logits.ndim < 3 or logits.shape[-1] < 2:
        raise ValueError(
            f"logits has shape {logits.shape}; expected (..., records, tokens, vocabulary), a language model's."
        )
    checks.shape("y", y, logits.shape[-3:-1])
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"y has dtype {y.dtype}; expected tokens, integers (records, tokens).")
    if y.size and y.max() >= logits.shape[-1]:
        raise ValueError(f"y runs to {y.max()}; expected tokens in 0..{logits.shape[-1] - 1}, negative if not counted.")
    counts = y >= 0
    if not counts.any(1).all():
        raise ValueError(f"record {int(counts.any(1).argmin())} of y has no token to count: all of them are negative.")
    if np.isnan(logits).any() or np.isposinf(logits).any() or np.isneginf(logits).all(-1).any():
        raise ValueError("logits hold NaN, +inf, or a row of -inf alone; a diverged model cannot be audited.")
    return logits, counts


def losses_of_tokens(logits: Array, y: Array) -> tuple[np.ndarray, np.ndarray]:
    """Returns (-log p of each token [..., n, t], nats, 0 if it does not count; whether it counts [n, t])."""
    logits, counts = check_tokens(logits, y)
    column = np.broadcast_to(np.where(counts, y, 0)[..., None], (*logits.shape[:-1], 1))
    rest = logits.copy()
    np.put_along_axis(rest, column, -np.inf, -1)
    odds = np.take_along_axis(logits, column, -1)[..., 0] - logsumexp(rest)
    return np.where(counts, np.logaddexp(0.0, -odds), 0.0), counts
