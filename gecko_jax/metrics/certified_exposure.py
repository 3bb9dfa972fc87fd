"""A lower bound on a canary's exposure among all fills of its template, which no number of references limits."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.metrics.token_values import MAX_ROUNDING_NATS
from gecko_jax.types import Array


def certified_exposure(loss: Array, space: int) -> float | np.ndarray:
    """Returns a lower bound on the exposure among ALL fills, from the canary's own probability: no reference is needed.

      exposure = log2 |space| - log2 rank >= max(0, log2 |space| - loss / log 2)

    since at most 1 / p fills have a probability of p or more. It does not end at log2 of the number of references, and
    it assumes no distribution; at a loss of 0 it is tight.

    Args:
      loss: -log p(fill | prefix) in nats, the sum over the fill's tokens under a causal model; a number, or an array.
      space: number of fills that were equally likely to be drawn, none of which begins another one, at least 2.

    Returns:
      Bits, a float or an array.

    Raises:
      ValueError: a loss that is NaN or below 0, or a space below 2.

    >>> certified_exposure([0.0, 7.0, 20.0], space=10**6).round(2).tolist()
    [19.93, 9.83, 0.0]
    """
    values = np.asarray(checks.unmasked("loss", loss), np.float64)
    if not (values >= -MAX_ROUNDING_NATS).all():
        raise ValueError("loss holds NaN, or values below 0; expected -log p in nats, the sum over the fill's tokens.")
    bits = np.log2(checks.integer("space", space, 2)) - np.maximum(values, 0.0) / np.log(2)
    bits = np.maximum(bits, 0.0)
    return float(bits) if bits.ndim == 0 else bits
