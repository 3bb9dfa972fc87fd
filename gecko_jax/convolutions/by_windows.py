"""Convolutions of which each example may have its own kernel, or its own gradient of a shared kernel.

`vmap` turns such convolutions into one with a group of features for each example. If the examples are sharded over
devices, XLA's partitioner silently computes other numbers for these groups: for the kernel's gradient of any
convolution of one image (jax 0.10.2 and 0.12.0.1, on 2 to 8 devices). The norms are then too small, and clipping bounds
nothing. Products over patches have no groups, and are faster on a CPU.
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
    """Returns the axes (batch, spatial..., channels) of an operand whose spec is (batch, channels, spatial...).

    Args:
      spec: of the operand, as in `lax.ConvDimensionNumbers`.

    Returns:
      The permutation with which `jnp.transpose` puts the channels last.

    >>> channels_last((0, 3, 1, 2))
    (0, 1, 2, 3)
    """
    return (spec[0], *spec[2:], spec[1])


def by_windows(params: Mapping[str, Any]) -> Callable[[Array, Array], Array]:
    """Returns (images, kernel) -> their convolution as a product over patches.

    Args:
      params: parameters of the primitive of `lax.conv_general_dilated`, with any values.

    Returns:
      A function of (images, kernel) in the layout that the parameters name; differentiable, also under `vmap`.

    >>> x, k = jnp.ones((1, 3, 3, 1)), jnp.ones((2, 2, 1, 1))
    >>> convolve = lambda x, k: lax.conv_general_dilated(x, k, (1, 1), "VALID", None, None, ("NHWC", "HWIO", "NHWC"))
    >>> by_windows(jax.make_jaxpr(convolve)(x, k).eqns[-1].params)(x, k).reshape(-1).tolist()
    [4.0, 4.0, 4.0, 4.0]
    """
    numbers, pads = params["dimension_numbers"], params["padding"]

    def convolve(images, kernel):
        x = jnp.transpose(images, channels_last(numbers.lhs_spec))
        inside = [d - 1 for d in params["lhs_dilation"]]
        edges = [(low, high, between) for (low, high), between in zip(pads, inside, strict=True)]
        x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *edges, (0, 0, 0)))
        groups = params["feature_group_count"]
        if (several := params["batch_group_count"]) > 1:  # groups of images become groups of features
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
        return jnp.transpose(y, np.argsort(channels_last(numbers.out_spec)).tolist())

    return convolve


def shared_kernel(primitive: Any, params: Mapping[str, Any]) -> Callable[[Array, Array], Array]:
    """Returns (images, kernel) -> XLA's convolution, with the kernel's gradient as a product over patches.

    Args:
      primitive: that of `lax.conv_general_dilated`.
      params: its parameters.

    Returns:
      A function of (images, kernel) as that of `by_windows`, for a kernel that all examples share.

    >>> x, k = jnp.ones((1, 3, 3, 1)), jnp.ones((2, 2, 1, 1))
    >>> convolve = lambda x, k: lax.conv_general_dilated(x, k, (1, 1), "VALID", None, None, ("NHWC", "HWIO", "NHWC"))
    >>> equation = jax.make_jaxpr(convolve)(x, k).eqns[-1]
    >>> jax.grad(lambda k: shared_kernel(equation.primitive, equation.params)(x, k).sum())(k).reshape(-1).tolist()
    [4.0, 4.0, 4.0, 4.0]
    """

    def plain(images, kernel):
        return primitive.bind(images, kernel, **params)

    def backward(saved, cotangent):
        images, kernel = saved
        (to_images,) = jax.vjp(lambda x: plain(x, kernel), images)[1](cotangent)
        # The convolution is linear in the kernel, so its value is not used and XLA removes it.
        (to_kernel,) = jax.vjp(lambda k: by_windows(params)(images, k), kernel)[1](cotangent)
        return to_images, to_kernel

    convolve = jax.custom_vjp(plain)
    convolve.defvjp(lambda images, kernel: (plain(images, kernel), (images, kernel)), backward)
    return convolve
