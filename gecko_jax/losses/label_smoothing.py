"""Cross-entropy with a target that leaves some probability to every class."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from gecko_jax.losses.cross_entropy import check_classes
from gecko_jax.losses.example_metrics import accuracy
from gecko_jax.losses.shapes import class_numbers, float_outputs
from gecko_jax.types import Loss


def smoothed_cross_entropy(smoothing: float = 0.1) -> Loss:
    """Builds -(1 - s) log p_y - (s / classes) sum_k log p_k, for logits [classes] and one class number y.

    Args:
      smoothing: s, at least 0 and below 1; 0 is cross-entropy.

    Raises:
      ValueError: smoothing out of bounds.

    Source: Szegedy et al., "Rethinking the Inception architecture for computer vision" (2016), section 7.

    >>> from gecko_jax.types import Batch
    >>> logits = jnp.log(jnp.array([0.75, 0.25]))
    >>> round(float(smoothed_cross_entropy(0.5).apply(logits, Batch(None, 0, None))), 4)  # -(3 log .75 + log .25) / 4
    0.5623
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing={smoothing!r} must be at least 0 and below 1: the share of a target that is even.")
    return _smoothed_cross_entropy(float(smoothing))


@functools.cache
def _smoothed_cross_entropy(smoothing: float) -> Loss:

    def apply(logits, example):
        logits = float_outputs("smoothed_cross_entropy", logits, ("classes",))
        label = class_numbers("smoothed_cross_entropy", example.y)
        # A label without a logit gives NaN, because -1 would count from the end and train the last class.
        of_label = jnp.where(label < 0, jnp.nan, jnp.take(logits, label))
        return jax.nn.logsumexp(logits) - (1 - smoothing) * of_label - smoothing * jnp.mean(logits)

    return Loss("smoothed_cross_entropy", apply, accuracy(), check=check_classes)
