"""Convolutions in a loss of one example, written so that many examples may each have a kernel, or a kernel's gradient.

`vmap` makes of these a convolution with a group of features for each example. Where the examples are shared out over
devices, XLA's partitioner computes other numbers for such groups, without a word: for the kernel's gradient of any
convolution of one image (jax 0.10.2 and 0.12.0.1, on 2 to 8 devices). Norms come out too small then, and clipping
bounds nothing. Products over windows have no groups. On a CPU they are faster, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gecko_jax.convolutions.patches import output_size, stacked_patches
from gecko_jax.types import Array


def channels_last(spec: tuple[int, ...]) -> tuple[int, ...]:
    """A permutation (batch, spatial..., channels) of an operand whose spec is (batch, channels, spatial...)."""
    return (spec[0], *spec[2:], spec[1])


def by_windows(params: Mapping[str, Any]) -> Callable[[Array, Array], Array]:
    """(images, kernel) -> what `lax.conv_general_dilated` gives with these parameters of its primitive; any of them."""
    numbers, pads = params["dimension_numbers"], params["padding"]

    def convolve(images, kernel):
        x = jnp.transpose(images, channels_last(numbers.lhs_spec))
        inside = [d - 1 for d in params["lhs_dilation"]]
        edges = [(low, high, between) for (low, high), between in zip(pads, inside, strict=True)]
        x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
        groups = params["feature_group_count"]
        if (several := params["batch_group_count"]) > 1:  # groups of images are groups of features, one beside another
            groups = several
            x = jnp.moveaxis(x.reshape(several, -1, *x.shape[1:]), 0, -2)
            x = x.reshape(*x.shape[:-2], -1)
        taps = jnp.transpose(kernel, (*numbers.rhs_spec[2:], numbers.rhs_spec[1], numbers.rhs_spec[0]))
        size = taps.shape[:-2]
        strides, dilation = params["window_strides"], params["rhs_dilation"]
        windows = stacked_patches(x[None], size, strides, dilation)[0]
        y = jnp.einsum(
            "npsgc,scgo->npgo",
            windows.reshape(*windows.shape[:3], groups, -1),
            taps.reshape(math.prod(size), taps.shape[-2], groups, -1),
            precision=params["precision"],
            preferred_element_type=params["preferred_element_type"],
        )
        y = y.reshape(len(x), *output_size(x.shape[1:-1], size, strides, dilation), kernel.shape[numbers.rhs_spec[0]])
        return jnp.transpose(y, np.argsort(channels_last(numbers.out_spec)))

    return convolve


def shared_kernel(primitive: Any, params: Mapping[str, Any]) -> Callable[[Array, Array], Array]:
    """The same by XLA's convolution, but for the kernel's gradient: for a kernel that all examples share."""

    def plain(images, kernel):
        return primitive.bind(images, kernel, **params)

    def backward(saved, cotangent):
        images, kernel = saved
        (to_images,) = jax.vjp(lambda x: plain(x, kernel), images)[1](cotangent)
        # Linear in the kernel: its value is not looked at, and XLA drops it.
        (to_kernel,) = jax.vjp(lambda k: by_windows(params)(images, k), kernel)[1](cotangent)
        return to_images, to_kernel

    convolve = jax.custom_vjp(plain)
    convolve.defvjp(lambda images, kernel: (plain(images, kernel), (images, kernel)), backward)
    return convolve
