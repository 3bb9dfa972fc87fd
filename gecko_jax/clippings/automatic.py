"""Automatic clipping: every gradient is normalized, so that clip norm and learning rate are one setting."""

from __future__ import annotations

import functools

import jax.numpy as jnp

from gecko_jax.checks import one_of
from gecko_jax.clippings.base import MIN_THRESHOLD, of_finite, threshold_of
from gecko_jax.clippings.trial import register
from gecko_jax.types import Clipping


def automatic(clip_norm: float, gamma: float = 0.01, variant: str = "stable") -> Clipping:
    """Normalizes every gradient: C = R / (t + gamma) ("stable", AUTO-S) or C = R / t ("vanilla", AUTO-V).

    t is the gradient's norm. AUTO-V contributes R for every example, however small its gradient, and so does not notice
    that an example has been learned; AUTO-S contributes less for a norm below gamma. Here AUTO-V is R / max(t, 1e-12):
    no factor is infinite, and a gradient of zeros contributes nothing.

    Args:
      clip_norm: R, in the unit of the gradient's norm, 1e-12 to 1e12.
      gamma: in the same unit, 1e-12 to 1e12; "vanilla" ignores it.
      variant: "stable" or "vanilla".

    Returns:
      A Clipping of one group and sensitivity R, listed as "automatic" or "automatic_vanilla".

    Raises:
      ValueError: a clip_norm or a gamma outside its range, another variant.

    Source: Bu, Wang, Zha & Karypis, "Automatic Clipping: Differentially Private Deep Learning Made Easier and
    Stronger", NeurIPS 2023 (arXiv 2206.07136), Algorithm 1, whose R is 1 and gamma .01.

    >>> import jax.numpy as jnp
    >>> automatic(1.0, gamma=0.5).scale(jnp.array([[0.0], [1.5]])).ravel().tolist()
    [2.0, 0.5]
    """
    r = threshold_of("clip_norm", clip_norm)
    if one_of("variant", variant, ("stable", "vanilla")) == "vanilla":
        return _vanilla(r)
    return _stable(r, threshold_of("gamma", gamma))


@functools.cache
def _stable(clip_norm: float, gamma: float) -> Clipping:
    return register(Clipping("automatic", of_finite(lambda norms: clip_norm / (norms + gamma)), clip_norm))


@functools.cache
def _vanilla(clip_norm: float) -> Clipping:
    scale = of_finite(lambda norms: clip_norm / jnp.maximum(norms, MIN_THRESHOLD))
    return register(Clipping("automatic_vanilla", scale, clip_norm))
