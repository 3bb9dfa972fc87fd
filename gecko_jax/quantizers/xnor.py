"""XNOR-Net (Rastegari et al. 2016): a binary filter times its mean magnitude, and inputs' signs with an optional K."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from gecko_jax.checks import one_of
from gecko_jax.quantizers.base import clip_gradient, filter_axes, no_state, sign, straight_through, unit_clip
from gecko_jax.types import Array, Codes, Quantizer


def xnor(gradient: str = "exact") -> Quantizer:
    """W_hat = alpha * sign(W) with alpha = ||W_f||_1 / n for each output filter f (eq. 6).

    Args:
      gradient: "exact": dW_i = g_i alpha 1{|W_i| <= 1} + sign(W_i)/n sum_j g_j sign(W_j), the gradient through alpha
        included (section 3.1); "stopped": alpha is a constant, as in many published codes.
    """
    one_of("gradient", gradient, ("exact", "stopped"))

    def alpha(w):
        return jnp.mean(jnp.abs(w), axis=filter_axes(w), keepdims=True)

    def apply(state, w, key=None):
        scale = alpha(w) if gradient == "exact" else lax.stop_gradient(alpha(w))
        return scale * straight_through(sign(w), clip_gradient(w))

    def codes(state, w):
        return Codes(sign(w).astype(jnp.int8), alpha(w), 1)

    return Quantizer("xnor", 1, no_state, apply, codes, project=unit_clip, inputs=False)


def xnor_input(scaling: bool = False) -> Quantizer:
    """x_hat = sign(x), and with `scaling` the layer's output times K (eq. 8-11).

    K is the mean of |x| over each window that the filter sees: over the features of a dense layer, and for a
    convolution the box-filtered channel mean. The paper finds that it matters little; it costs a float
    multiplication an output.
    """

    def apply(state, x, key=None):
        return straight_through(sign(x), clip_gradient(x))

    def gain(x: Array, layer) -> Array:
        mean = jnp.mean(jnp.abs(x), axis=-1, keepdims=True)
        size = getattr(layer, "kernel_size", None)
        if size is None:
            return mean
        size = (size,) * (x.ndim - 2) if isinstance(size, int) else tuple(size)
        strides = layer.strides or 1
        strides = (strides,) * len(size) if isinstance(strides, int) else tuple(strides)
        count = 1
        for length in size:
            count *= length
        total = lax.reduce_window(mean, 0.0, lax.add, (1, *size, 1), (1, *strides, 1), layer.padding)
        return total / count

    def codes(state, x):
        return Codes(sign(x).astype(jnp.int8), jnp.ones((), x.dtype), 1)

    name = "xnor_input_scaled" if scaling else "xnor_input"
    return Quantizer(name, 1, no_state, apply, codes, gain=gain if scaling else None)
