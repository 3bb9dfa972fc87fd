"""Perplexity of a language model: per token, and per byte, which models with different tokenizers share.

Sums come first and the quotient last: a mean of the rows' perplexities, or of their mean losses, would weigh a token
of a short row more than one of a long row. Padding never counts, whatever the loss there is.
"""

from __future__ import annotations

import math

import numpy as np

from gecko_jax import checks
from gecko_jax.metrics.token_values import counted_losses
from gecko_jax.types import Array


def perplexity(losses: Array, y: Array) -> float | np.ndarray:
    """Returns the perplexity per token: exp(sum of the losses / number of tokens), over all rows together.

    Args:
      losses: [n, t] losses of single tokens in nats, of one model, or [..., n, t] of several, such as
        `signals.token_losses(logits, y)`.
      y: [n, t] the tokens that were predicted; a negative one does not count (padding, a prompt).

    Returns:
      A float for one model, an array [...] for several.

    Raises:
      ValueError: other shapes, no token that counts, a loss of one that is NaN or below 0, or y that are not integers.

    >>> round(perplexity([[math.log(2), math.log(8), 99.0]], [[5, 7, -1]]), 9)  # (2 * 8) ** (1/2)
    4.0
    """
    sums, tokens = totals(losses, y)
    return _plain(exponential(sums.sum(-1) / tokens.sum()))


def byte_perplexity(losses: Array, y: Array, byte_counts: Array) -> float | np.ndarray:
    """Returns the perplexity per byte: exp(sum of the losses / number of bytes of the predicted tokens).

    Args:
      losses, y: see `perplexity`.
      byte_counts: bytes of UTF-8 that each predicted token stands for [n, t], of which those of tokens that do not
        count are left out; or [n], the sum over each row's tokens that count. A causal model predicts no first token.

    Returns:
      A float for one model, an array [...] for several.

    Raises:
      ValueError: see `perplexity`; byte counts of another shape or type, below 0 or all 0.

    >>> round(byte_perplexity([[math.log(16), 0.0]], [[5, -1]], [[4, 1]]), 9)
    2.0
    """
    return _plain(exponential(math.log(2) * np.asarray(bits_per_byte(losses, y, byte_counts))))


def bits_per_byte(losses: Array, y: Array, byte_counts: Array) -> float | np.ndarray:
    """Returns the mean loss in bits per byte, the logarithm to base 2 of `byte_perplexity`.

    Args:
      losses, y, byte_counts: see `byte_perplexity`, also for what is refused.

    Returns:
      Bits, a float for one model, an array [...] for several.

    >>> round(bits_per_byte([[math.log(16)]], [[5]], [4]), 9)
    1.0
    """
    sums, units = totals(losses, y, byte_counts)
    return _plain(sums.sum(-1) / units.sum() / math.log(2))


def totals(losses: Array, y: Array, byte_counts: Array | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sums of the losses [..., n] and the numbers of tokens, or of bytes, that count [n]."""
    values, counts = counted_losses(losses, y)
    if not counts.any():
        raise ValueError("y holds negative tokens alone: there is none to predict. Mark padding alone as negative.")
    if byte_counts is None:
        return values.sum(-1), counts.sum(-1)
    sizes = np.asarray(checks.unmasked("byte_counts", byte_counts))
    if sizes.shape not in (counts.shape, counts.shape[:1]):
        raise ValueError(f"byte_counts has shape {sizes.shape}; expected {counts.shape}, or {counts.shape[:1]}.")
    if sizes.dtype.kind not in "iu" or sizes.min() < 0:
        raise ValueError(f"byte_counts has dtype {sizes.dtype} and runs from {sizes.min()}; expected integers >= 0.")
    sizes = np.where(counts, sizes, 0).sum(-1) if sizes.ndim == 2 else sizes
    if not sizes.any():
        raise ValueError("byte_counts is 0 for every token that counts; expected the bytes that they stand for.")
    return values.sum(-1), sizes


def exponential(values: np.ndarray | float) -> np.ndarray:
    """Returns exp(values), infinite without a warning if it is too large."""
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(values))


def _plain(values: np.ndarray) -> float | np.ndarray:
    return float(values) if np.ndim(values) == 0 else values
