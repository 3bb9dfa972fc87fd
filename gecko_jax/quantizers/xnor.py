"""XNOR-Net (Rastegari et al. 2016): a binary filter times its mean magnitude, and inputs' signs with an optional K."""

from __future__ import annotations

import math
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from gecko_jax.checks import one_of
from gecko_jax.convolutions import explicit_padding
from gecko_jax.quantizers.base import (
    clip_gradient,
    filter_axes,
    no_state,
    sign,
    straight_through,
    unit_clip,
    wide,
    with_blueprint,
)
from gecko_jax.types import Array, Codes, Quantizer


@with_blueprint
def xnor(gradient: str = "exact") -> Quantizer:
    """Quantizes weights to one bit times a scale: W_hat = alpha * sign(W), alpha = ||W_f||_1 / n for filter f (eq. 6).

    A weight with one axis (a bias, a normalization's scale) has one entry for each filter and is unchanged. Latent
    weights are clipped to [-1, 1] after each update.

    Args:
      gradient: "exact": dW_i = g_i alpha 1{|W_i| <= 1} + sign(W_i)/n sum_j g_j sign(W_j), the gradient through alpha
        included (the paper's section 3.1 prints g_i (alpha 1{|W_i| <= 1} + 1/n), which leaves out all terms j != i);
        "stopped": g_i alpha 1{|W_i| <= 1}, alpha a constant, as in many published codes.

    Returns:
      A Quantizer for weights [window..., inputs, outputs]; 1 bit and one scale for each output, without state.

    Raises:
      ValueError: another gradient.

    Source: Rastegari et al., "XNOR-Net", ECCV 2016 (arXiv 1603.05279).

    >>> import jax.numpy as jnp
    >>> xnor().apply((), jnp.array([[-0.5], [0.25]])).tolist()
    [[-0.375], [0.375]]
    """
    one_of("gradient", gradient, ("exact", "stopped"))

    def alpha(w):
        # |w|, with the gradient sign(w) at 0 too: otherwise a filter of zeros, whose alpha is 0, could never leave it.
        return jnp.mean(wide(w * lax.stop_gradient(sign(w))), axis=filter_axes(w), keepdims=True)

    def apply(state, w, key=None):
        scale = alpha(w) if gradient == "exact" else lax.stop_gradient(alpha(w))
        return (scale * wide(straight_through(sign(w), clip_gradient(w)))).astype(w.dtype)

    def codes(state, w):
        return Codes(sign(w).astype(jnp.int8), alpha(w), 1)

    return Quantizer("xnor", 1, no_state, apply, codes, project=unit_clip, inputs=False)


@with_blueprint
def xnor_input(scaling: bool = False) -> Quantizer:
    """Quantizes a layer's inputs to one bit, x_hat = sign(x); `scaling` multiplies the layer's output by K (eq. 8-11).

    K is the mean of |x| over each window that the filter sees, in its own group's channels: over the features of a
    dense layer, and for a convolution the box-filtered channel mean, with zeros outside of the image. The gradient is
    1{|x| <= 1} through the sign, and exact through K. The paper finds that K matters little; it costs one float
    multiplication for each output.

    Args:
      scaling: whether to multiply by K; for `nn.Dense` and `nn.Conv` alone.

    Returns:
      A Quantizer for inputs of any shape; 1 bit, scale 1, without state.

    Source: Rastegari et al., "XNOR-Net", ECCV 2016 (arXiv 1603.05279).

    >>> import jax.numpy as jnp
    >>> xnor_input().apply((), jnp.array([-0.2, 0.0, 3.0])).tolist()
    [-1.0, 1.0, 1.0]
    """

    def apply(state, x, key=None):
        return straight_through(sign(x), clip_gradient(x))

    def codes(state, x):
        return Codes(sign(x).astype(jnp.int8), jnp.ones((), wide(x).dtype), 1)

    name = "xnor_input_scaled" if scaling else "xnor_input"
    return Quantizer(name, 1, no_state, apply, codes, gain=window_mean if scaling else None)


def window_mean(x: Array, layer: nn.Module) -> Array:
    """Computes K of eq. 11: the mean of |x| over what each output of a dense or convolution layer sees.

    Args:
      x: the layer's input [..., features] or [..., height, width, channels].
      layer: the layer, for its window, strides, padding, dilation and groups.

    Returns:
      Factors that broadcast against the layer's output.

    Raises:
      ValueError: a layer of another kind, a border that is not of zeros.
    """
    if type(layer) is nn.Dense:
        return jnp.mean(jnp.abs(wide(x)), axis=-1, keepdims=True).astype(x.dtype)
    if type(layer) is not nn.Conv or layer.padding in ("CIRCULAR", "REFLECT", "CAUSAL"):
        kind = f"{type(layer).__name__}(padding={layer.padding!r})" if type(layer) is nn.Conv else type(layer).__name__
        raise ValueError(
            f"xnor_input(scaling=True): K is defined for nn.Dense and for nn.Conv padded with zeros; layer {kind} is "
            "neither. Give that layer a rule with xnor_input() instead."
        )
    size = (layer.kernel_size,) if isinstance(layer.kernel_size, int) else tuple(layer.kernel_size)
    strides, dilation = _each(layer.strides, len(size)), _each(layer.kernel_dilation, len(size))
    groups = layer.feature_group_count
    mean = jnp.mean(jnp.abs(wide(x)).reshape(-1, *x.shape[-len(size) - 1 : -1], groups, x.shape[-1] // groups), axis=-1)
    total = lax.reduce_window(
        mean,
        mean.dtype.type(0),
        lax.add,
        (1, *size, 1),
        (1, *strides, 1),
        ((0, 0), *explicit_padding(layer.padding, mean.shape[1:-1], size, strides, dilation), (0, 0)),
        window_dilation=(1, *dilation, 1),
    )
    total = total if groups == 1 else jnp.repeat(total, layer.features // groups, axis=-1)
    return (total / math.prod(size)).reshape(*x.shape[: -len(size) - 1], *total.shape[1:]).astype(x.dtype)


def _each(value: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """A setting of nn.Conv for each spatial axis."""
    return (value or 1,) * rank if value is None or isinstance(value, int) else tuple(value)
