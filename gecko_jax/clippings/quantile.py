"""Quantile-adaptive clipping: flat, at a clip norm that follows a quantile of the norms (Andrew et al. 2021)."""

from __future__ import annotations

import functools

import jax.numpy as jnp

from gecko_jax.checks import in_range, positive
from gecko_jax.clippings.base import MIN_THRESHOLD, clip_threshold, only_norm, threshold_of
from gecko_jax.clippings.flat import shorten
from gecko_jax.clippings.trial import register_adaptive
from gecko_jax.types import AdaptiveClipping, Clipping


def quantile(clip_norm: float, quantile: float = 0.5, learning_rate: float = 0.2) -> AdaptiveClipping:
    """Clips to a norm R that follows a quantile of the gradient norms by a noised count.

      C = min(1, R / t),    R <- R exp(-eta (b - gamma)),    b: the noised share of examples with t <= R

    `exceeds` counts 1 for an example whose norm is at most R, else 0; a norm that is not finite counts 0. One example
    changes the count by at most 1; the paper adds noise of standard deviation (batch size) / 20 to it. R is the
    threshold and the sensitivity of each step. It stays within 1e-12..1e12, whatever the noise does.

    Args:
      clip_norm: R of the first step, in the unit of the gradient's norm, 1e-12 to 1e12.
      quantile: gamma, the target share of examples that R leaves unclipped, 0 to 1.
      learning_rate: eta > 0; R changes by at most exp(eta) in a step, apart from the noise.

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
        return clip_threshold(threshold * jnp.exp(-learning_rate * (counted - share)), MIN_THRESHOLD, threshold)

    return register_adaptive(AdaptiveClipping("quantile", start, at, exceeds, update))
