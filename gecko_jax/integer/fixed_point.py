"""Multiplication by a real factor in 32-bit integers, bit for bit as gemmlowp and TensorFlow Lite Micro round it.

  factor = multiplier * 2^(shift - 31),    2^30 <= multiplier < 2^31
  result = RoundingDivideByPOT(SaturatingRoundingDoublingHighMul(x * 2^max(shift, 0), multiplier), max(-shift, 0))

JAX has no 64-bit integers unless they are enabled for the whole process: the product of two 32-bit numbers is made of
16-bit limbs.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from gecko_jax.types import Array

MAX_INT32 = 2**31 - 1
MIN_SHIFT, MAX_SHIFT = -31, 30


def quantize_multiplier(factor: float) -> tuple[int, int]:
    """Returns (multiplier, shift) of a factor, as TensorFlow Lite's QuantizeMultiplier does.

    Args:
      factor: at least 0; one below 2^-32 becomes 0.

    Raises:
      ValueError: a negative factor, one that is not finite, or one of 2^30 or more.

    Source: Jacob et al. 2018 (arXiv 1712.05877), section 2.2.

    >>> quantize_multiplier(0.75), quantize_multiplier(0.0)
    ((1610612736, 0), (0, 0))
    """
    if not (math.isfinite(factor) and factor >= 0):
        raise ValueError(f"factor={factor!r} must be a finite number of at least 0.")
    fraction, shift = math.frexp(factor)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, shift = 2**30, shift + 1
    if shift < MIN_SHIFT:
        return 0, 0
    if shift > MAX_SHIFT:
        raise ValueError(f"factor={factor!r} is too large for 32 bits; expected less than 2^{MAX_SHIFT}.")
    return multiplier, shift


def rescale(x: Array, multipliers: Array, shifts: Array) -> Array:
    """Multiplies integers by factors, rounded as gemmlowp does.

    Args:
      x: int32 [..., c], small enough that x * 2^shift fits 32 bits where the shift is positive.
      multipliers, shifts: int32 [c] or [1], NumPy, as `quantize_multiplier` returns them.

    Returns:
      int32 of x's shape.

    The first of the two roundings takes halves up, the second away from zero.

    >>> rescale(jnp.array([10, -10, 3]), np.array([1610612736], np.int32), np.array([0], np.int32)).tolist()
    [8, -7, 2]
    """
    ones = (1,) * (x.ndim - 1)
    multipliers, shifts = (np.asarray(each, np.int32).reshape(*ones, -1) for each in (multipliers, shifts))
    if np.any(shifts > 0):
        x = x << jnp.asarray(np.maximum(shifts, 0))
    return divide_by_power(doubling_high_product(x, multipliers), np.maximum(-shifts, 0))


def doubling_high_product(a: Array, b: np.ndarray) -> Array:
    """Computes gemmlowp's SaturatingRoundingDoublingHighMul: round(a * b / 2^31), from 16-bit limbs.

    Args:
      a: int32.
      b: int32 that broadcasts to a's shape, at least 0, so that nothing saturates.

    >>> doubling_high_product(jnp.array([3, -3]), np.array([2**30, 2**30], np.int32)).tolist()
    [2, -1]
    """
    negative = a < 0
    size = lax.bitcast_convert_type(jnp.where(negative, -a, a), jnp.uint32)  # -(-2^31) wraps to 2^31, as it should
    b_words = jnp.asarray(b.astype(np.uint32))
    a_high, a_low, b_high, b_low = size >> 16, size & 0xFFFF, b_words >> 16, b_words & 0xFFFF
    low = a_low * b_low
    middle = a_low * b_high + (low >> 16)
    other = a_high * b_low + (middle & 0xFFFF)
    high, low = a_high * b_high + (middle >> 16) + (other >> 16), (other << 16) | (low & 0xFFFF)
    # (ab + nudge) / 2^31 is truncated in C: the nudge is 2^30, and 1 - 2^30 below 0.
    nudged = low + (np.uint32(2**30) - negative.astype(jnp.uint32))
    high = high + (nudged < low).astype(jnp.uint32)
    product = lax.bitcast_convert_type((high << 1) | (nudged >> 31), jnp.int32)
    return jnp.where(negative, -product, product)


def divide_by_power(x: Array, exponents: np.ndarray) -> Array:
    """Computes gemmlowp's RoundingDivideByPOT: x / 2^exponent, rounded to nearest, half away from zero.

    Args:
      x: int32.
      exponents: 0 to 31, that broadcast to x's shape.

    >>> divide_by_power(jnp.array([5, 6, -6]), np.array([2, 2, 2])).tolist()
    [1, 2, -2]
    """
    if not np.any(exponents):
        return x
    mask = jnp.asarray(((1 << exponents.astype(np.int64)) - 1).astype(np.int32))
    threshold = (mask >> 1) + (x < 0).astype(jnp.int32)
    return (x >> jnp.asarray(exponents.astype(np.int32))) + ((x & mask) > threshold).astype(jnp.int32)
