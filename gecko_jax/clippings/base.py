"""Building blocks of the rules: the range of thresholds, and factor 0 for a gradient that is not finite."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp

from gecko_jax.checks import in_range
from gecko_jax.types import Array

# Norms are square roots of float32 sums of squares. Components below 1e-19 have squares that underflow, so that a norm
# may be computed as 0 although it is 1e-19 times the root of the number of parameters. A factor far above sensitivity /
# MIN_THRESHOLD could lift such a gradient over the bound. With thresholds in this range no factor does, and the ratio
# of any two thresholds is a float32.
MIN_THRESHOLD = 1e-12
MAX_THRESHOLD = 1e12


def threshold_of(name: str, value: float) -> float:
    """Returns the value as a float; raises ValueError unless it lies between MIN_THRESHOLD and MAX_THRESHOLD."""
    return float(in_range(name, value, MIN_THRESHOLD, MAX_THRESHOLD))


def of_finite(factors: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Wraps a rule so that an infinite or NaN norm gets factor 0.

    A clipped sum leaves such an example out: 0 * inf would be NaN, and a NaN would spread to the whole sum.
    """

    def scale(norms):
        norms = jnp.asarray(norms)
        return jnp.where(jnp.isfinite(norms), factors(norms), 0.0)

    return scale


def clip_threshold(threshold: Array, low: float, previous: Array) -> Array:
    """Clips an updated threshold to `low`..MAX_THRESHOLD; a NaN is replaced by the previous threshold."""
    return jnp.clip(jnp.where(jnp.isnan(threshold), previous, threshold), low, MAX_THRESHOLD)


def only_norm(norms: Array) -> Array:
    """Returns norms [..., 1] of a rule of one group as [...]; raises ValueError if there are more groups."""
    norms = jnp.asarray(norms)
    if norms.ndim == 0 or norms.shape[-1] != 1:
        raise ValueError(f"norms has shape {norms.shape}; its last axis must have length 1: one group.")
    return norms[..., 0]
