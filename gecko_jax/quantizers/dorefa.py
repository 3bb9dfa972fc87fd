"""DoReFa-Net (Zhou et al. 2016): k-bit weights through a tangent, k-bit inputs in 0..1."""

from __future__ import annotations

import jax.numpy as jnp

from gecko_jax.quantizers.base import check_bits, clip_through, no_state, sign, straight_through, wide, with_blueprint
from gecko_jax.types import Codes, Quantizer

MIN_TANGENT = 1e-30  # a layer of smaller weights counts as zeros


@with_blueprint
def dorefa(bits: int) -> Quantizer:
    """Quantizes weights: w_hat = 2 q_k(tanh(w) / (2 max|tanh(w)|) + 1/2) - 1, and sign(w) * E|w| at one bit.

      q_k(r) = round((2^k - 1) r) / (2^k - 1)    (eq. 5)

    The maximum and the mean are over the layer. The 2^k levels are odd multiples of 1 / (2^k - 1), so that none is 0.
    The gradient passes through q_k unchanged and is exact elsewhere, through the maximum too (eq. 9); at one bit it
    passes unchanged, and E|w| is a constant to it (eq. 7). Quantizing quantized weights again changes them.

    Args:
      bits: 1 to 8. The codes of 8 bits are odd numbers from -255 to 255, which an int8 device does not multiply by.

    Returns:
      A Quantizer for weights of any shape, without state. It does not serve inputs: see `dorefa_input`.

    Raises:
      ValueError: bits outside 1..8.

    Source: Zhou et al., "DoReFa-Net", 2016 (arXiv 1606.06160), equations 7 and 9.

    >>> import jax.numpy as jnp
    >>> dorefa(2).apply((), jnp.array([-2.0, 0.1, 2.0]))
    Array([-1.        ,  0.33333334,  1.        ], dtype=float32)
    """
    levels = 2 ** check_bits("dorefa", bits, 1, "8 bits are the most that codes are stored in") - 1

    def split(w):
        """Returns the levels' positions in 0..levels as they are before rounding."""
        tangent = jnp.tanh(wide(w))
        top = jnp.max(jnp.abs(tangent))
        return (tangent / jnp.where(top >= MIN_TANGENT, top, 1.0) * 0.5 + 0.5) * levels

    def scale(w):
        return jnp.mean(jnp.abs(wide(w))) if bits == 1 else jnp.asarray(1 / levels, wide(w).dtype)

    def integers(w):
        return sign(wide(w)) if bits == 1 else 2 * jnp.round(split(w)) - levels

    def apply(state, w, key=None):
        w_hat = (integers(w) * scale(w)).astype(w.dtype)
        through = w if bits == 1 else ((2 * split(w) - levels) * (1 / levels)).astype(w.dtype)
        return straight_through(w_hat, through)

    def codes(state, w):
        return Codes(integers(w).astype(jnp.int16 if bits == 8 else jnp.int8), scale(w), bits)

    return Quantizer(f"dorefa{bits}", bits, no_state, apply, codes, inputs=False)


@with_blueprint
def dorefa_input(bits: int) -> Quantizer:
    """Quantizes inputs: x_hat = q_k(clip(x, 0, 1)), q_k(r) = round((2^k - 1) r) / (2^k - 1).

    The gradient is 1{0 <= x <= 1}.

    Args:
      bits: 1 to 8. One bit means 0 or 1 here.

    Returns:
      A Quantizer for inputs of any shape, without state. It does not serve weights, which it would clip at 0.

    Raises:
      ValueError: bits outside 1..8.

    Source: Zhou et al., "DoReFa-Net", 2016 (arXiv 1606.06160), equation 11.

    >>> import jax.numpy as jnp
    >>> dorefa_input(2).apply((), jnp.array([-2.0, 0.4, 2.0]))
    Array([0.        , 0.33333334, 1.        ], dtype=float32)
    """
    levels = 2 ** check_bits("dorefa_input", bits, 1, "8 bits are the most that codes are stored in") - 1
    zero = -(2 ** (bits - 1)) if bits > 1 else 0

    def integers(x):
        return jnp.round(jnp.clip(wide(x), 0, 1) * levels)

    def apply(state, x, key=None):
        x_hat = integers(x) * jnp.asarray(1 / levels, wide(x).dtype)
        return straight_through(x_hat.astype(x.dtype), clip_through(x, 0, 1))

    def codes(state, x):
        return Codes((integers(x) + zero).astype(jnp.int8), jnp.asarray(1 / levels, wide(x).dtype), bits, zero)

    return Quantizer(f"dorefa{bits}_input", bits, no_state, apply, codes, weights=False)
