"""Quantile-adaptive clipping: flat, at a clip norm that follows a quantile of the norms (Andrew et al. 2021)."""

from __future__ import annotations

import functools

import jax.numpy as jnp

from gecko_jax.checks import in_range, positive
from gecko_jax.clippings.base import SMALLEST, held, only_norm, threshold_of
from gecko_jax.clippings.flat import shorten
from gecko_jax.clippings.trial import built_adaptive
from gecko_jax.types import AdaptiveClipping, Clipping


def quantile(clip_norm: float, quantile: float = 0.5, learning_rate: float = 0.2) -> AdaptiveClipping:
    """C = min(1, R / t); R <- R exp(-eta (b - gamma)), where b is the noised share of examples with t <= R.

    `exceeds` counts 1 for an example whose norm is AT MOST R, 0 for any other, one that is not finite among them. One
    example changes the count by at most 1; the paper adds noise of standard deviation (batch size) / 20 to it. R is the
    threshold and the sensitivity of each step. It stays within 1e-12..1e12, whatever the noise does.

    Args:
      clip_norm: R of the first step, in the unit of the gradient's norm, 1e-12 to 1e12.
      quantile: gamma, the share of examples that R is to leave unclipped, 0 to 1.
      learning_rate: eta > 0; R changes by at most exp(eta) a step, but for the noise.

    Returns:
      An AdaptiveClipping of one group.

    Raises:
      ValueError: an argument outside its range.

    Source: Andrew, Thakkar, McMahan & Ramaswamy, "Differentially Private Learning with Adaptive Clipping", NeurIPS 2021
    (arXiv 1905.03871), Algorithm 1.

    >>> rule = quantile(1.0)
    >>> [round(float(rule.update(1.0, share)), 3) for share in (0.0, 0.5, 1.0)]
    [1.105, 1.0, 0.905]
    """
    start = threshold_of("clip_norm", clip_norm)
    share = float(in_range("quantile", quantile, 0, 1))
    return _quantile(start, share, float(positive("learning_rate", learning_rate)))


@functools.cache
def _quantile(start: float, share: float, learning_rate: float) -> AdaptiveClipping:

    def at(threshold):
        return Clipping("quantile", shorten(threshold), threshold)

    def exceeds(norms, threshold):
        return jnp.where(only_norm(norms) <= threshold, 1.0, 0.0)

    def update(threshold, counted):
        return held(threshold * jnp.exp(-learning_rate * (counted - share)), SMALLEST, threshold)

    return built_adaptive(AdaptiveClipping("quantile", start, at, exceeds, update))
