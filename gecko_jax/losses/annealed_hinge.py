"""A hinge on the distance to a teacher's logits that are damped in the beginning, and not damped at the end."""

from __future__ import annotations

import jax.numpy as jnp

from gecko_jax.types import Array


def annealed_hinge(logits: Array, teacher: Array, damping: Array | float, margin: float) -> Array:
    """Returns max(0, |s - phi t|^2 - margin * phi) for logits s (student) and t (teacher).

    Args:
      logits: of the student, [classes].
      teacher: the teacher's, [classes].
      damping: phi, above 0 and at most 1; 1: the teacher as it is.
      margin: distance that is not penalized, at least 0.

    Source: Jafari et al., "Continuation KD" (EMNLP 2022 findings, arXiv 2212.05998), equation 4.

    >>> float(annealed_hinge(jnp.array([2.0, 0.0]), jnp.array([2.0, 2.0]), damping=0.5, margin=1.0))  # 1 + 1 - 0.5
    1.5
    """
    return jnp.maximum(0.0, jnp.sum((logits - damping * teacher) ** 2) - margin * damping)
