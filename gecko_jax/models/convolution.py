"""Convolutions where XLA is slow, and where zeros do not exist: both through the hook that Flax's layers offer.

XLA's CPU backend runs `lax.conv` inside a loop several times slower than outside (jax-ml/jax#12868). The same sum as
one matrix product over patches has no such trap. A network of +-1 has no zero to pad with: it is padded with +1.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from gecko_jax.models.windows import windowed_product
from gecko_jax.types import Array

Convolution = Callable[..., Array]


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
    """`lax.conv_general_dilated` of NHWC inputs by matrix products; what is grouped, dilated inside or not 2-d: XLA.

    Args:
      lhs, rhs, ...: as `lax.conv_general_dilated` takes them; `options` may hold its feature_group_count and precision.
    """
    if not _is_plain(lhs, rhs, lhs_dilation, dimension_numbers, options):
        return lax.conv_general_dilated(
            lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers, **options
        )
    dilation = tuple(rhs_dilation or (1, 1))
    lhs = _bordered(lhs, explicit_padding(padding, lhs.shape[1:3], rhs.shape[:2], window_strides, dilation), 0)
    return windowed_product(tuple(window_strides), dilation, options.get("precision"), lhs, rhs)


def _is_plain(lhs, rhs, lhs_dilation, dimension_numbers, options) -> bool:
    if lhs.ndim != 4 or lhs.size == 0 or any(d != 1 for d in lhs_dilation or ()):
        return False
    if options.get("feature_group_count", 1) != 1 or set(options) - {"feature_group_count", "precision"}:
        return False
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    return numbers == lax.conv_dimension_numbers(lhs.shape, rhs.shape, ("NHWC", "HWIO", "NHWC"))


def _bordered(x: Array, pads: list[tuple[int, int]], value: float) -> Array:
    """x with a border of `value` around its spatial axes."""
    if not any(low or high for low, high in pads):
        return x
    return lax.pad(x, jnp.asarray(value, x.dtype), ((0, 0, 0), *((low, high, 0) for low, high in pads), (0, 0, 0)))


def padded_with_ones(inner: Convolution) -> Convolution:
    """The same convolution, its border filled with +1, the input a binary layer can represent."""

    def convolve(lhs, rhs, window_strides, padding, lhs_dilation=None, rhs_dilation=None, *rest, **options):
        dilation = tuple(rhs_dilation or (1,) * (lhs.ndim - 2))
        lhs = _bordered(lhs, explicit_padding(padding, lhs.shape[1:-1], rhs.shape[:-2], window_strides, dilation), 1)
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
    """A context in which every `nn.Conv` is computed by a matrix product over patches, with the same parameters.

    A layer that brings a convolution of its own keeps it.

    >>> import flax.linen as nn, jax, jax.numpy as jnp
    >>> x = jnp.ones((1, 4, 4, 1))
    >>> with convolutions_as_matmul():
    ...     nn.Conv(2, (3, 3)).init_with_output(jax.random.key(0), x)[0].shape
    (1, 4, 4, 2)
    """

    def choose(inner):
        return as_matmul if inner is lax.conv_general_dilated else inner

    def intercept(next_fun, args, kwargs, context):
        if isinstance(context.module, nn.Conv) and context.method_name == "__call__":
            with hooked(context.module, choose):
                return next_fun(*args, **kwargs)
        return next_fun(*args, **kwargs)

    return nn.intercept_methods(intercept)
