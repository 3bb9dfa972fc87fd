"""Cross-entropy with the true label."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from gecko_jax.types import Array, Loss


def label_cross_entropy(logits: Array, label: Array) -> Array:
    """-log softmax(logits)[label], for logits [classes] and one integer label; NaN for a label that has no logit.

    Without the comparison -1 would count from the end and train the last class.
    """
    return jax.nn.logsumexp(logits) - jnp.where(label < 0, jnp.nan, jnp.take(logits, label))


@functools.cache
def cross_entropy() -> Loss:
    """-log p_y."""
    return Loss("cross_entropy", False, lambda logits, example: label_cross_entropy(logits, example.y))
