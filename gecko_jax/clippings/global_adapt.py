"""Adaptive global clipping: no example is dropped, and the threshold follows long gradients (Esipova et al. 2023)."""

from __future__ import annotations

import functools

import jax.numpy as jnp

from gecko_jax.checks import positive
from gecko_jax.clippings.base import MAX_THRESHOLD, clip_threshold, of_finite, only_norm, threshold_of
from gecko_jax.clippings.trial import register_adaptive
from gecko_jax.types import AdaptiveClipping, Clipping


def global_adapt(
    clip_norm: float, threshold: float | None = None, learning_rate: float = 0.1, tolerance: float = 1.0
) -> AdaptiveClipping:
    """Scales each gradient by R / max(t, Z), and adapts Z to the share of long gradients by a noised count.

      C = R / Z if t <= Z, else R / t,    Z <- Z exp(-eta + b),    b: the noised share of examples with t > tau Z

    It is flat clipping at Z, times R / Z. `exceeds` counts 1 for an example whose norm is finite and above tau Z, else
    0. An example whose norm is not finite has factor 0 and does not raise Z. One example changes the count by at most
    1. Z stays within R..1e12, whatever the noise does. At Z = R the rule is flat clipping, which the authors' code
    computes for every Z below R as well.

    Args:
      clip_norm: R, in the unit of the gradient's norm, 1e-12 to 1e12.
      threshold: Z of the first step, R to 1e12. None takes 50 R, the authors' setting for MNIST.
      learning_rate: eta > 0: Z settles when a share eta of the examples is above tau Z.
      tolerance: tau > 0.

    Returns:
      An AdaptiveClipping of one group and sensitivity R at every step.

    Raises:
      ValueError: an argument outside its range, a threshold below clip_norm.

    Source: Esipova, Ghomi, Luo & Cresswell, "Disparate Impact in Differential Privacy from Gradient Misalignment",
    ICLR 2023 (arXiv 2206.07737), section 5 (DPSGD-Global-Adapt).

    >>> import jax.numpy as jnp
    >>> global_adapt(1.0).at(jnp.float32(4)).scale(jnp.array([[0.0], [4.0], [8.0]])).ravel().tolist()
    [0.25, 0.25, 0.125]
    """
    r = threshold_of("clip_norm", clip_norm)
    start = threshold_of("threshold", min(50 * r, MAX_THRESHOLD) if threshold is None else threshold)
    if start < r:
        raise ValueError(f"threshold={start!r} must be at least clip_norm={r!r}; flat(clip_norm) is what lies below.")
    return _global_adapt(
        r, start, float(positive("learning_rate", learning_rate)), float(positive("tolerance", tolerance))
    )


@functools.cache
def _global_adapt(clip_norm: float, start: float, learning_rate: float, tolerance: float) -> AdaptiveClipping:

    def at(threshold):
        z = jnp.maximum(threshold, clip_norm)
        return Clipping("global_adapt", of_finite(lambda norms: clip_norm / jnp.maximum(norms, z)), clip_norm)

    def exceeds(norms, threshold):
        norm = only_norm(norms)
        return jnp.where(jnp.isfinite(norm) & (norm > tolerance * threshold), 1.0, 0.0)

    def update(threshold, counted):
        return clip_threshold(threshold * jnp.exp(counted - learning_rate), clip_norm, threshold)

    return register_adaptive(AdaptiveClipping("global_adapt", start, at, exceeds, update))
