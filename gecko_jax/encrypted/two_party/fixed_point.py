"""Real numbers as integers modulo 2^64 with f fractional bits, as additive shares of two parties, and their truncation.

    encode(v) = round(v * 2^f) mod 2^64         share: x = x_client + x_server mod 2^64, one of them uniform

A product of two such numbers has 2 f fractional bits. Each party drops f of them from its own share, without a message.
Weights may have more bits than values: they cost nothing but room in the ring, and most of the error is theirs.

The result is wrong by at most one unit of the last place, unless the shares wrapped around. If the product, as an
integer, is below 2^k in magnitude, that happens with probability at most 2^(k + 1 - 64), and then the result is off by
2^(64 - f).
"""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.types import Array

RING_BITS = 64
WORD_BYTES = 8
MAX_MAGNITUDE_BITS = RING_BITS - 2  # of an encoded number: the sign, and one bit so that rounding cannot reach 2^63
CLIENT, SERVER = 0, 1


def encode(name: str, values: Array, fraction_bits: int) -> np.ndarray:
    """Encodes real numbers in the ring.

    Args:
      name: of the argument, for messages.
      values: real numbers of any shape.
      fraction_bits: f.

    Returns:
      uint64 of the same shape; negative numbers are counted down from 2^64.

    Raises:
      ValueError: a number that is not finite, or one whose magnitude the ring cannot hold.

    >>> encode("x", [1.5, -0.25], 2).view(np.int64).tolist()
    [6, -1]
    """
    values = np.asarray(checks.finite(name, values), np.float64)
    limit = 2.0 ** (MAX_MAGNITUDE_BITS - fraction_bits)
    if (largest := np.abs(values).max(initial=0)) >= limit:
        raise ValueError(
            f"{name} holds {largest:.3g}, and a number of {RING_BITS} bits with {fraction_bits} after the point must "
            f"stay below {limit:.3g}. Scale the network down, or take fewer fraction_bits."
        )
    return np.rint(values * 2.0**fraction_bits).astype(np.int64).view(np.uint64)


def decode(ring: np.ndarray, fraction_bits: int) -> np.ndarray:
    """Decodes numbers of the ring.

    Args:
      ring: uint64.
      fraction_bits: f.

    Returns:
      float64 of the same shape.

    >>> decode(encode("x", [1.5, -0.25], 13), 13).tolist()
    [1.5, -0.25]
    """
    return ring.view(np.int64) / 2.0**fraction_bits


def uniform(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draws uniform numbers of the ring.

    Args:
      random: the generator.
      shape: of the result.

    >>> uniform(np.random.default_rng(0), (2,)).dtype
    dtype('uint64')
    """
    return random.integers(0, 2**RING_BITS, shape, np.uint64)


def truncate(share: np.ndarray, fraction_bits: int, party: int) -> np.ndarray:
    """Drops the last bits of a party's share; see the module's head.

    Args:
      share: uint64, of a number whose shares are uniform.
      fraction_bits: how many bits are dropped.
      party: CLIENT, which rounds down, or SERVER, which rounds the negative down.

    Returns:
      uint64: the two parties' results add up to the truncated number, or to one more.

    Source: Mohassel and Zhang 2017 (SecureML), section 4.1 and theorem 1.

    >>> masks = uniform(np.random.default_rng(0), (4,))
    >>> shares = masks, np.array([40, -40, 44, -44]).astype(np.uint64) - masks
    >>> sum(truncate(share, 3, party) for party, share in enumerate(shares)).view(np.int64).tolist()
    [5, -5, 6, -6]
    """
    bits = np.uint64(fraction_bits)
    return share >> bits if party == CLIENT else -(-share >> bits)


def failure_probability(magnitudes: float, product_bits: int) -> float:
    """Bounds the probability that any of several truncations wraps around, by the sum of 2^(k + 1 - 64).

    Args:
      magnitudes: the sum, over all numbers that are truncated, of bounds on their absolute values as real numbers.
      product_bits: fractional bits of these numbers before the truncation.

    Returns:
      The bound, at most 1.

    >>> failure_probability(64.0, 26) == 2.0 ** (6 + 26 + 1 - 64)
    True
    """
    return min(1.0, magnitudes * 2.0 ** (product_bits + 1 - RING_BITS))
