"""Uniform symmetric k-bit grid: integers in -Q..Q times a scale, Q = 2^(k-1) - 1 (narrow range, zero included)."""

from __future__ import annotations

import jax.numpy as jnp

from gecko_jax.checks import positive
from gecko_jax.quantizers.base import clip_gradient, filter_axes, no_state, straight_through, wide, with_blueprint
from gecko_jax.types import Codes, Quantizer

SMALLEST = 1e-30  # a filter below it counts as zeros: its scale would be a subnormal number, which XLA flushes to 0


@with_blueprint
def uniform(bits: int, max_abs: float | None = None) -> Quantizer:
    """w_hat = s * round(clip(w / s, -Q, Q)), Q = 2^(bits-1) - 1, s = max_abs / Q.

    The gradient is 1{|w| <= max_abs}, the ends included; without max_abs nothing lies outside and it passes unchanged:
    s is a constant to it (Jacob et al. 2018; round half to even). Torch and Brevitas pass it up to max_abs + s / 2: at
    2 bits and a max_abs of one standard deviation, to 18 % more of a normal weight's entries. Without max_abs, a weight
    with one axis has one entry a filter and comes out unchanged.

    Args:
      bits: 2 to 8. For one bit use `binary`, which has no zero.
      max_abs: the range's end. None takes the largest magnitude of each output filter, which serves weights alone: over
        a layer's inputs that would couple the examples of a batch.

    Raises:
      ValueError: bits outside 2..8, a max_abs that is not above 0.

    >>> import jax.numpy as jnp
    >>> uniform(2).apply((), jnp.array([[-0.75], [0.125], [0.5]])).tolist()
    [[-0.75], [0.0], [0.75]]
    """
    if not (isinstance(bits, int) and 2 <= bits <= 8):
        raise ValueError(f"bits={bits!r} must be an integer from 2 to 8; for one bit use quantizers.binary().")
    if max_abs is not None:
        positive("max_abs", max_abs)
    largest = 2 ** (bits - 1) - 1

    def scale(w):
        if max_abs is not None:
            return jnp.asarray(max_abs / largest, wide(w).dtype)
        top = jnp.max(jnp.abs(wide(w)), axis=filter_axes(w), keepdims=True)
        return jnp.where(top >= SMALLEST, top, 1.0) * (1 / largest)  # compiled or not, the same bits; a division is not

    def grid(w, s):
        return jnp.round(jnp.clip(wide(w) / s, -largest, largest))

    def apply(state, w, key=None):
        s = scale(w)
        return straight_through((grid(w, s) * s).astype(w.dtype), w if max_abs is None else clip_gradient(w, max_abs))

    def codes(state, w):
        s = scale(w)
        return Codes(grid(w, s).astype(jnp.int8), s, bits)

    return Quantizer(f"uniform{bits}", bits, no_state, apply, codes, inputs=max_abs is not None)
