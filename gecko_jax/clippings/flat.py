"""Flat clipping: each example's whole gradient is shortened to the clip norm (Abadi et al. 2016)."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax.numpy as jnp

from gecko_jax.clippings.base import of_finite, threshold_of
from gecko_jax.clippings.trial import register
from gecko_jax.types import Array, Clipping


def flat(clip_norm: float) -> Clipping:
    """Clips each example's gradient to norm R: C = min(1, R / t) for a gradient of norm t.

    Args:
      clip_norm: R, in the unit of the gradient's norm, 1e-12 to 1e12.

    Returns:
      A Clipping of one group and sensitivity R.

    Raises:
      ValueError: a clip_norm outside that range.

    Source: Abadi et al., "Deep Learning with Differential Privacy", CCS 2016 (arXiv 1607.00133), Algorithm 1.

    >>> import jax.numpy as jnp
    >>> flat(2.0).scale(jnp.array([[0.0], [1.0], [8.0]])).ravel().tolist()
    [1.0, 1.0, 0.25]
    """
    return _flat(threshold_of("clip_norm", clip_norm))


@functools.cache
def _flat(clip_norm: float) -> Clipping:
    return register(Clipping("flat", shorten(clip_norm), clip_norm))


def shorten(bound: float | Array) -> Callable[[Array], Array]:
    """Builds norms -> min(1, bound / norm), without a division by 0; `bound` broadcasts to the norms."""
    return of_finite(lambda norms: bound / jnp.maximum(norms, bound))
