"""Other ways to compute a convolution, through the hook that Flax's layers offer.

A product over windows, because XLA's convolutions are slow inside a loop on a CPU (`gecko_jax.convolutions`).
Padding with +1, because a network of +-1 has no zero to pad with.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import flax.linen as nn
from jax import lax

from gecko_jax.convolutions import add_border, as_matmul, as_ungrouped, explicit_padding
from gecko_jax.types import Array

Convolution = Callable[..., Array]


def padded_with_ones(inner: Convolution) -> Convolution:
    """Wraps a convolution so that its border is filled with +1, which a binary layer can represent."""

    def convolve(lhs, rhs, window_strides, padding, lhs_dilation=None, rhs_dilation=None, *rest, **options):
        dilation = tuple(rhs_dilation or (1,) * (lhs.ndim - 2))
        lhs = add_border(lhs, explicit_padding(padding, lhs.shape[1:-1], rhs.shape[:-2], window_strides, dilation), 1)
        return inner(lhs, rhs, window_strides, "VALID", lhs_dilation, rhs_dilation, *rest, **options)

    return convolve


@contextlib.contextmanager
def hooked(layer: nn.Module, wrap: Callable[[Convolution], Convolution]):
    """Lets the bound convolution layer call wrap(its convolution) within the block."""
    before = layer.conv_general_dilated
    # Linen modules are frozen; this field is the documented hook, and it is put back before the layer returns.
    object.__setattr__(layer, "conv_general_dilated", wrap(before or lax.conv_general_dilated))
    try:
        yield
    finally:
        object.__setattr__(layer, "conv_general_dilated", before)


def convolutions_as_matmul():
    """Returns a context in which every `nn.Conv` is computed by a matrix product over patches.

    Its parameters stay the same. A layer with a convolution of its own keeps it.

    >>> import flax.linen as nn, jax, jax.numpy as jnp
    >>> x = jnp.ones((1, 4, 4, 1))
    >>> with convolutions_as_matmul():
    ...     nn.Conv(2, (3, 3)).init_with_output(jax.random.key(0), x)[0].shape
    (1, 4, 4, 2)
    """
    return nn.intercept_methods(_by_matmul)


def ungrouped_convolutions():
    """Returns a context in which `nn.Conv`s of models side by side, under `vmap`, hold no convolution with groups.

    Otherwise as `convolutions_as_matmul`.

    >>> import flax.linen as nn, jax, jax.numpy as jnp
    >>> x = jnp.ones((1, 4, 4, 2))
    >>> with ungrouped_convolutions():
    ...     nn.Conv(2, (3, 3), feature_group_count=2).init_with_output(jax.random.key(0), x)[0].shape
    (1, 4, 4, 2)
    """
    return nn.intercept_methods(_ungrouped)


def _interceptor(convolution: Convolution):
    """Builds what lets each `nn.Conv` compute a convolution of XLA's by another function."""

    def choose(inner: Convolution) -> Convolution:
        return convolution if inner is lax.conv_general_dilated else inner

    def intercept(next_fun, args, kwargs, context):
        if isinstance(context.module, nn.Conv) and context.method_name == "__call__":
            with hooked(context.module, choose):
                return next_fun(*args, **kwargs)
        return next_fun(*args, **kwargs)

    return intercept


# One object each, because programs are kept by the interceptors that they ran under.
_by_matmul, _ungrouped = _interceptor(as_matmul), _interceptor(as_ungrouped)
