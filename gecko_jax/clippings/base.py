"""What every rule is made of: the range that thresholds live in, and factor 0 for a gradient that is not finite."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp

from gecko_jax.checks import in_range
from gecko_jax.types import Array

# Norms are square roots of float32 sums of squares. Components below 1e-19 have squares that underflow, so that the
# norm of a gradient may be told as 0 where it is 1e-19 times the root of the number of parameters: a factor far above
# sensitivity / SMALLEST could lift such a gradient over the bound. With thresholds in this range none does, and the
# ratio of any two of them is a float32.
SMALLEST = 1e-12
LARGEST = 1e12


def threshold_of(name: str, value: float) -> float:
    """The value as a float; raises ValueError unless it lies between SMALLEST and LARGEST."""
    return float(in_range(name, value, SMALLEST, LARGEST))


def of_finite(factors: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """The rule with a factor of 0 wherever the norm is infinite or NaN: 0 * inf would be NaN, and NaN spreads."""

    def scale(norms):
        norms = jnp.asarray(norms)
        return jnp.where(jnp.isfinite(norms), factors(norms), 0.0)

    return scale


def held(threshold: Array, low: float, previous: Array) -> Array:
    """An updated threshold kept between `low` and LARGEST; where it is NaN, the previous one."""
    return jnp.clip(jnp.where(jnp.isnan(threshold), previous, threshold), low, LARGEST)


def only_norm(norms: Array) -> Array:
    """norms [..., 1] of a rule of one group -> [...]; raises ValueError where there are more groups."""
    norms = jnp.asarray(norms)
    if norms.ndim == 0 or norms.shape[-1] != 1:
        raise ValueError(f"norms has shape {norms.shape}; its last axis must have length 1: one group.")
    return norms[..., 0]
