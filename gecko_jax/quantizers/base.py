"""What every scheme is made of: the straight-through gradient, the sign, and who shares a scale."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable

import jax
import jax.numpy as jnp

from gecko_jax.types import Array, Quantizer


@jax.custom_jvp
def straight_through(value: Array, through: Array) -> Array:
    """Returns `value` to the last bit, with the gradient of `through`.

    The usual `through + stop_gradient(value - through)` rounds, so that a filter of +-alpha takes more than two values.

    Args:
      value: what is computed with, of any shape.
      through: a differentiable array of the same shape, whose gradient stands in.
    """
    del through
    return value


@straight_through.defjvp
def _straight_through_jvp(primals, tangents):
    return primals[0], tangents[1]


def sign(x: Array) -> Array:
    """Returns the signs of x as +1 or -1. The sign of 0 is +1: no bit stands for the 0 of `jnp.sign`."""
    return jnp.where(x >= 0, 1.0, -1.0).astype(x.dtype)


def wide(x: Array) -> Array:
    """Casts x to float32, or keeps float64: the type in which scales are computed, whatever type the weights have.

    In float16 the sum of a layer's magnitudes overflows, a small filter's scale is 0, and a count stops at 65,504.
    """
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def clip_gradient(x: Array, limit: float = 1.0) -> Array:
    """x with gradient 1{|x| <= limit}: at limit 1 the straight-through estimator of Hubara et al. 2016.

    `jnp.clip` would not do: its gradient at the very ends, where inputs in 0..1 often lie, is 1/2.
    """
    return jnp.where(jnp.abs(wide(x)) <= limit, x, jax.lax.stop_gradient(x))


def filter_axes(w: Array) -> tuple[int, ...]:
    """All axes but the last: a scheme is shown a layer's weight with its outputs (its filters) last (`models.axes`)."""
    return tuple(range(w.ndim - 1))


def no_state(w: Array) -> tuple[()]:
    """The state of a scheme that has none.

    Raises:
      ValueError: w is not of real floats, which no scheme here quantizes.
    """
    if not jnp.issubdtype(w.dtype, jnp.floating):
        raise ValueError(f"weights of type {w.dtype} cannot be quantized. Give their layer no rule, or real floats.")
    return ()


def unit_clip(w: Array) -> Array:
    """w clipped to [-1, 1], where the latent weights of a binary layer live."""
    return jnp.clip(w, -1.0, 1.0)


def with_blueprint(factory: Callable[..., Quantizer]) -> Callable[..., Quantizer]:
    """Wraps a factory of quantizers, so that each quantizer names the factory and the arguments it was built from.

    >>> @with_blueprint
    ... def scheme(bits, max_abs=1.0):
    ...     return Quantizer("scheme", bits, no_state, None)
    >>> scheme(4).blueprint[1]
    (('bits', 4), ('max_abs', 1.0))
    """
    signature = inspect.signature(factory)

    @functools.wraps(factory)
    def build(*args, **kwargs):
        quantizer = factory(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return quantizer._replace(blueprint=(build, tuple(bound.arguments.items())))

    return build
