"""A convolution as products that stay products if each of several models has its own kernel.

`vmap` over models turns XLA's convolution into one with a group of features for each model, which a GPU computes
slowly. A product over patches becomes a batched product; a depthwise convolution has one factor for each place of the
kernel, and becomes a sum of factors times images, with no product of matrices at all.
"""

from __future__ import annotations

import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from gecko_jax.convolutions.by_windows import channels_last
from gecko_jax.convolutions.patches import explicit_padding, patches, taps
from gecko_jax.types import Array

_OPTIONS = {"feature_group_count", "precision", "preferred_element_type"}


def as_ungrouped(
    lhs, rhs, window_strides, padding, lhs_dilation=None, rhs_dilation=None, dimension_numbers=None, **options
) -> Array:
    """Computes `lax.conv_general_dilated` without a convolution: by products over patches.

    Groups of images, and padding by name around an image that is dilated inside, are left to XLA.

    Args:
      lhs: images.
      rhs: kernel.
      window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers: as of `lax.conv_general_dilated`.
      **options: its feature_group_count, precision and preferred_element_type.

    Returns:
      The same numbers as XLA's up to rounding.

    >>> numbers = ("NHWC", "HWIO", "NHWC")
    >>> y = as_ungrouped(jnp.ones((1, 3, 3, 2)), jnp.ones((2, 2, 2, 1)), (1, 1), "VALID", dimension_numbers=numbers)
    >>> y.reshape(-1).tolist()
    [8.0, 8.0, 8.0, 8.0]
    """
    is_dilated = any(d != 1 for d in lhs_dilation or ())
    if set(options) - _OPTIONS or lhs.size == 0 or (is_dilated and isinstance(padding, str)):
        return lax.conv_general_dilated(
            lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers, **options
        )
    numbers, rank = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers), lhs.ndim - 2
    x = jnp.transpose(lhs, channels_last(tuple(numbers.lhs_spec)))
    kernel = jnp.transpose(rhs, (*numbers.rhs_spec[2:], numbers.rhs_spec[1], numbers.rhs_spec[0]))
    size, dilation = kernel.shape[:-2], tuple(rhs_dilation or (1,) * rank)
    pads = explicit_padding(padding, x.shape[1:-1], size, window_strides, dilation)
    inside = [d - 1 for d in lhs_dilation or (1,) * rank]
    edges = [(low, high, between) for (low, high), between in zip(pads, inside, strict=True)]
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
    y = _product(x, kernel, tuple(window_strides), dilation, options)
    return jnp.transpose(y, np.argsort(channels_last(tuple(numbers.out_spec))).tolist())


def _product(x: Array, kernel: Array, strides: tuple[int, ...], dilation: tuple[int, ...], options: dict) -> Array:
    """Convolves x [b, spatial..., c] with a kernel [spatial..., c / groups, o]: [b, positions..., o]."""
    *size, inputs, outputs = kernel.shape
    groups, form = options.get("feature_group_count", 1), options.get("preferred_element_type")
    if inputs == 1 and groups > 1:
        places = [tap[..., None] for tap in taps(x, size, strides, dilation)]
        factors = kernel.reshape(len(places), *(1,) * (x.ndim - 1), groups, outputs // groups)
        terms = [tap * factor for tap, factor in zip(places, factors, strict=True)]
        y = functools.reduce(jnp.add, terms)
        return (y if form is None else y.astype(form)).reshape(*y.shape[:-2], outputs)
    precision = options.get("precision")
    windows = patches(x, size, strides, dilation)
    if groups == 1:
        return jnp.matmul(windows, kernel.reshape(-1, outputs), precision=precision, preferred_element_type=form)
    y = jnp.einsum(
        "...sgc,scgo->...go",
        windows.reshape(*windows.shape[:-1], math.prod(size), groups, inputs),
        kernel.reshape(math.prod(size), inputs, groups, -1),
        precision=precision,
        preferred_element_type=form,
    )
    return y.reshape(*y.shape[:-2], outputs)
