"""Building blocks of the schemes: the straight-through gradient, the sign, and the axes that share a scale."""

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
      value: the result, of any shape.
      through: a differentiable array of the same shape, whose gradient is passed on.

    >>> float(jax.grad(lambda x: straight_through(jnp.round(x), 3 * x))(0.4))
    3.0
    """
    del through
    return value


@straight_through.defjvp
def _straight_through_jvp(primals, tangents):
    return primals[0], tangents[1]


def sign(x: Array) -> Array:
    """Returns +1 if x >= 0, else -1, in x's dtype. `jnp.sign(0)` is 0, which no bit can store.

    Args:
      x: any shape.

    >>> sign(jnp.array([-2.0, 0.0, 0.5])).tolist()
    [-1.0, 1.0, 1.0]
    """
    return jnp.where(x >= 0, 1.0, -1.0).astype(x.dtype)


def wide(x: Array) -> Array:
    """Casts x to float32, or keeps float64: scales are computed in this type, whatever type the weights have.

    In float16 the sum of a layer's magnitudes overflows, a small filter's scale is 0, and a count stops at 65,504.

    >>> wide(jnp.ones(2, jnp.float16)).dtype
    dtype('float32')
    """
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def clip_gradient(x: Array, limit: float = 1.0) -> Array:
    """Returns x, with gradient 1{|x| <= limit}: at limit 1 the straight-through estimator of Hubara et al. 2016.

    The gradient at the ends themselves is 1. That of `jnp.clip` is 1/2 there, where inputs in 0..1 often lie.

    Args:
      x: any shape.
      limit: above 0.

    >>> jax.vmap(jax.grad(clip_gradient))(jnp.array([-1.5, 0.0, 1.0])).tolist()
    [0.0, 1.0, 1.0]
    """
    return jnp.where(jnp.abs(wide(x)) <= limit, x, jax.lax.stop_gradient(x))


def clip_through(x: Array, low: Array | float, high: Array | float) -> Array:
    """Clips x to low..high, with gradient 1{low <= x <= high}, and none to the ends.

    Args:
      x: any shape.
      low, high: broadcast against x.

    >>> jax.vmap(jax.grad(lambda x: clip_through(x, 0.0, 1.0)))(jnp.array([-1.5, 0.0, 1.0, 1.5])).tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    return jnp.where((low <= x) & (x <= high), x, jax.lax.stop_gradient(jnp.clip(x, low, high)))


def above_zero(x: Array, least: float = 1e-30) -> Array:
    """Returns |x| and at least `least`: a trained step that has crossed zero still has a gradient, of the other sign.

    Args:
      x: any shape.
      least: above 0. XLA would flush smaller numbers to 0.

    >>> above_zero(jnp.array([-0.5, 0.25])).tolist()
    [0.5, 0.25]
    """
    return jnp.where(jnp.abs(x) >= least, jnp.abs(x), least)


def check_bits(name: str, bits: int, least: int, advice: str) -> int:
    """Returns bits, an integer from `least` to 8.

    Args:
      name: of the argument's owner; shown in the error message.
      bits: of a code.
      least: 1 or 2.
      advice: what to take instead; shown in the error message.

    Raises:
      ValueError: anything else.
    """
    if not (isinstance(bits, int) and not isinstance(bits, bool) and least <= bits <= 8):
        raise ValueError(f"{name}: bits={bits!r} must be an integer from {least} to 8; {advice}.")
    return bits


def filter_axes(w: Array) -> tuple[int, ...]:
    """Returns all axes but the last: a scheme is given a layer's weight with its outputs (filters) last."""
    return tuple(range(w.ndim - 1))


def no_state(w: Array) -> tuple[()]:
    """Returns the empty state of a scheme that learns nothing.

    Raises:
      ValueError: w is not of real floats; no scheme here quantizes anything else.
    """
    if not jnp.issubdtype(w.dtype, jnp.floating):
        raise ValueError(f"weights of type {w.dtype} cannot be quantized. Leave their layer out, or use real floats.")
    return ()


def unit_clip(w: Array) -> Array:
    """Clips the latent weights of a binary layer to [-1, 1].

    >>> unit_clip(jnp.array([-3.0, 0.5])).tolist()
    [-1.0, 0.5]
    """
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
