"""Convolutions where XLA is slow, and where zeros do not exist: both through the hook that Flax's layers offer.

XLA's CPU backend runs `lax.conv` inside a loop several times slower than outside (jax-ml/jax#12868). The same sum as
one matrix product over patches has no such trap. A network of +-1 has no zero to pad with: it is padded with +1.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from gecko_jax.types import Array

Convolution = Callable[..., Array]

CACHED_ROWS = 800  # windows worked on at a time: 28x28 images one by one, 8x8 ones by the dozen


def patches(x: Array, size: tuple[int, int], strides: tuple[int, int], dilation: tuple[int, int]) -> Array:
    """The windows of x [b, h, w, c] that lie wholly inside it, as [b, h', w', kh * kw * c]."""
    (kh, kw), (sh, sw), (dh, dw) = size, strides, dilation
    height, width = x.shape[1] - (kh - 1) * dh, x.shape[2] - (kw - 1) * dw
    slices = [x[:, i * dh : i * dh + height : sh, j * dw : j * dw + width : sw] for i in range(kh) for j in range(kw)]
    return jnp.concatenate(slices, axis=-1)


def explicit_padding(
    padding: str | tuple[tuple[int, int], ...],
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilation: tuple[int, ...],
) -> list[tuple[int, int]]:
    """Padding as [(low, high)] for each spatial axis of length `size`."""
    if not isinstance(padding, str):
        return list(padding)
    dilated = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    return list(lax.padtype_to_pads(size, dilated, strides, padding))


def as_matmul(
    lhs, rhs, window_strides, padding, lhs_dilation=None, rhs_dilation=None, dimension_numbers=None, **options
) -> Array:
    """`lax.conv_general_dilated` of NHWC inputs by one matrix product; other layouts and groups go to XLA."""
    dilation = tuple(rhs_dilation or (1,) * (lhs.ndim - 2))
    grouped = options.get("feature_group_count", 1) != 1
    if lhs.ndim != 4 or grouped or any(d != 1 for d in lhs_dilation or ()):
        return lax.conv_general_dilated(
            lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers, **options
        )
    pads = explicit_padding(padding, lhs.shape[1:3], rhs.shape[:2], window_strides, dilation)
    if any(low or high for low, high in pads):
        lhs = jnp.pad(lhs, ((0, 0), *pads, (0, 0)))
    flat = rhs.reshape(-1, rhs.shape[-1])

    def convolve(images):
        windows = patches(images, rhs.shape[:2], tuple(window_strides), dilation)
        product = jnp.matmul(windows.reshape(-1, len(flat)), flat, precision=options.get("precision"))
        return product.reshape(*windows.shape[:-1], -1)

    # A few images at a time, their windows made again for the gradient: they stay in the cache, twice as fast on CPU.
    group = _divisor(len(lhs), at_most=max(1, CACHED_ROWS // (lhs.shape[1] * lhs.shape[2])))
    out = lax.map(jax.checkpoint(convolve), lhs.reshape(-1, group, *lhs.shape[1:]))
    return out.reshape(len(lhs), *out.shape[2:])


def _divisor(n: int, at_most: int) -> int:
    return max(d for d in range(1, min(n, at_most) + 1) if n % d == 0)


def padded_with_ones(inner: Convolution) -> Convolution:
    """The same convolution, its border filled with +1, the input a binary layer can represent."""

    def convolve(lhs, rhs, window_strides, padding, lhs_dilation=None, rhs_dilation=None, *rest, **options):
        dilation = tuple(rhs_dilation or (1,) * (lhs.ndim - 2))
        pads = explicit_padding(padding, lhs.shape[1:-1], rhs.shape[:-2], window_strides, dilation)
        lhs = jnp.pad(lhs, ((0, 0), *pads, (0, 0)), constant_values=1)
        return inner(lhs, rhs, window_strides, "VALID", lhs_dilation, rhs_dilation, *rest, **options)

    return convolve


@contextlib.contextmanager
def hooked(layer: nn.Module, wrap: Callable[[Convolution], Convolution]):
    """Within the block, the bound convolution layer calls wrap(what it called before)."""
    before = layer.conv_general_dilated
    # Linen modules are frozen; this field is the documented hook, and it is put back before the layer returns.
    object.__setattr__(layer, "conv_general_dilated", wrap(before or lax.conv_general_dilated))
    try:
        yield
    finally:
        object.__setattr__(layer, "conv_general_dilated", before)


def convolutions_as_matmul():
    """A context in which every `nn.Conv` is computed by a matrix product over patches, with the same parameters."""

    def intercept(next_fun, args, kwargs, context):
        if isinstance(context.module, nn.Conv) and context.method_name == "__call__":
            with hooked(context.module, lambda inner: as_matmul):
                return next_fun(*args, **kwargs)
        return next_fun(*args, **kwargs)

    return nn.intercept_methods(intercept)
