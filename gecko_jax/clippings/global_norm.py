"""Global clipping: one factor for all examples, and examples with too long a gradient are dropped (Bu et al. 2021)."""

from __future__ import annotations

import functools

import jax.numpy as jnp

from gecko_jax.clippings.base import of_finite, threshold_of
from gecko_jax.clippings.trial import register
from gecko_jax.types import Clipping


def global_norm(clip_norm: float, threshold: float | None = None) -> Clipping:
    """Scales each gradient by a constant or drops it: C = (R / Z) * 1(t <= Z) for a gradient of norm t.

    It is flat clipping at Z with the examples over Z dropped, times R / Z. While Z is above every norm the factor is a
    constant, the sum points where the true gradient does, and the paper's theorem holds: the loss decreases along the
    flow, because the kernel times the factors stays symmetric and positive semi-definite. Once an example is dropped
    the theorem does not apply, and the loss may increase.

    Args:
      clip_norm: R, in the unit of the gradient's norm, 1e-12 to 1e12.
      threshold: Z, likewise. None takes Z = R: a gradient passes unchanged or not at all. The smaller Z / R, the more
        weight the kept examples have against the noise, and the more examples are dropped.

    Returns:
      A Clipping of one group and sensitivity R (replace-one: 2R, as for every rule).

    Raises:
      ValueError: a clip_norm or a threshold outside its range.

    Source: Bu, Wang, Dai & Long, "On the Convergence and Calibration of Deep Learning with Differential Privacy",
    arXiv 2106.07830v3; Z = R is the authors' later code.

    >>> import jax.numpy as jnp
    >>> global_norm(1.0, 2.0).scale(jnp.array([[0.0], [2.0], [2.5]])).ravel().tolist()
    [0.5, 0.5, 0.0]
    """
    r = threshold_of("clip_norm", clip_norm)
    return _global_norm(r, r if threshold is None else threshold_of("threshold", threshold))


@functools.cache
def _global_norm(clip_norm: float, threshold: float) -> Clipping:
    scale = of_finite(lambda norms: jnp.where(norms <= threshold, clip_norm / threshold, 0.0).astype(norms.dtype))
    return register(Clipping("global_norm", scale, clip_norm), norms=(threshold,))
