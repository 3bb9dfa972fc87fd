"""Uniform symmetric k-bit grid: integers in -Q..Q times a scale, Q = 2^(k-1) - 1 (narrow range, zero included)."""

from __future__ import annotations

import jax.numpy as jnp

from gecko_jax.checks import positive
from gecko_jax.quantizers.base import clip_gradient, filter_axes, no_state, straight_through, wide, with_blueprint
from gecko_jax.types import Codes, Quantizer

MIN_MAGNITUDE = 1e-30  # a filter below it counts as zeros: XLA would flush its scale, a subnormal number, to 0


@with_blueprint
def uniform(bits: int, max_abs: float | None = None) -> Quantizer:
    """Quantizes to a symmetric grid: w_hat = s * round(clip(w / s, -Q, Q)), Q = 2^(bits-1) - 1, s = max_abs / Q.

    The gradient is 1{|w| <= max_abs}, the ends included, and s is a constant to it. Without max_abs nothing lies
    outside, and the gradient passes unchanged. PyTorch and Brevitas pass it up to max_abs + s / 2: at 2 bits and a
    max_abs of one standard deviation, to 18 % more of a normal weight's entries. Rounding is half to even. Without
    max_abs, a weight with one axis has one entry for each filter and is unchanged.

    Args:
      bits: 2 to 8. For one bit use `binary`, which has no zero.
      max_abs: the end of the range, in the unit of the values. None: the largest magnitude of each output filter, which
        serves weights alone, because over a layer's inputs it would couple the examples of a batch.

    Returns:
      A Quantizer without state; for weights of any shape, and with max_abs for inputs too.

    Raises:
      ValueError: bits outside 2..8, a max_abs that is not above 0.

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", CVPR 2018 (arXiv 1712.05877), without its zero point.

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
        # A product has the same bits compiled or not; a division has not.
        return jnp.where(top >= MIN_MAGNITUDE, top, 1.0) * (1 / largest)

    def grid(w, s):
        return jnp.round(jnp.clip(wide(w) / s, -largest, largest))

    def apply(state, w, key=None):
        s = scale(w)
        return straight_through((grid(w, s) * s).astype(w.dtype), w if max_abs is None else clip_gradient(w, max_abs))

    def codes(state, w):
        s = scale(w)
        return Codes(grid(w, s).astype(jnp.int8), s, bits)

    return Quantizer(f"uniform{bits}", bits, no_state, apply, codes, inputs=max_abs is not None)
