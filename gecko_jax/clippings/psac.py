"""Per-sample adaptive clipping: normalized gradients, with less weight for small ones (Xia et al. 2023)."""

from __future__ import annotations

import functools

from gecko_jax.clippings.base import of_finite, threshold_of
from gecko_jax.clippings.trial import register
from gecko_jax.types import Clipping


def psac(clip_norm: float, r: float = 0.1) -> Clipping:
    """Normalizes gradients but does not amplify small ones: C = R / (t + r / (t + r)) for a gradient of norm t.

    The factor is near R / t for a large gradient, and R for one of zeros. For r < 1 it is largest at t = sqrt(r) - r,
    R / (2 sqrt(r) - r); that of AUTO-S with gamma = r is R / r, at t = 0.

    Args:
      clip_norm: R, in the unit of the gradient's norm, 1e-12 to 1e12.
      r: 1e-12 to 1e12. The formula adds a norm and a pure number, so r depends on the gradient's unit.

    Returns:
      A Clipping of one group and sensitivity R.

    Raises:
      ValueError: a clip_norm or an r outside its range.

    Source: Xia et al., "Differentially Private Learning with Per-Sample Adaptive Clipping", AAAI 2023 (arXiv
    2212.00328), Algorithm 1.

    >>> import jax.numpy as jnp
    >>> psac(1.0, r=0.5).scale(jnp.array([[0.0], [0.5]])).ravel().tolist()
    [1.0, 1.0]
    """
    return _psac(threshold_of("clip_norm", clip_norm), threshold_of("r", r))


@functools.cache
def _psac(clip_norm: float, r: float) -> Clipping:
    return register(Clipping("psac", of_finite(lambda norms: clip_norm / (norms + r / (norms + r))), clip_norm))
