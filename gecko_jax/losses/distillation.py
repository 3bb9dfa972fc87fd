"""What a student learns from a teacher's logits. Gradients never reach the teacher."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from gecko_jax.checks import between, positive
from gecko_jax.losses.cross_entropy import label_cross_entropy
from gecko_jax.types import Loss


@functools.cache
def symmetric_cross_entropy() -> Loss:
    """-sum_k t_k log s_k - sum_k s_k log t_k for posteriors t (teacher) and s (student): no labels, no temperature.

    Gecko's Phase II as the paper states it (Duddu et al., arXiv 2010.00912, section 4.2); the published code trains on
    the teacher's arg-max instead, which here is `hard_labels`.
    """

    def apply(logits, example):
        student, teacher = jax.nn.log_softmax(logits), jax.nn.log_softmax(example.teacher)
        return -jnp.sum(jnp.exp(teacher) * student) - jnp.sum(jnp.exp(student) * teacher)

    return Loss("symmetric_cross_entropy", True, apply)


@functools.cache
def kullback_leibler(temperature: float = 4.0, weight: float = 0.9) -> Loss:
    """weight * T^2 * KL(t_T || s_T) + (1 - weight) * (-log s_y), posteriors at temperature T (Hinton et al. 2015).

    Args:
      temperature: T > 0.
      weight: share of the teacher's term, 0 to 1.
    """
    positive("temperature", temperature)
    between("weight", weight, 0, 1)

    def apply(logits, example):
        student = jax.nn.log_softmax(logits / temperature)
        teacher = jax.nn.log_softmax(example.teacher / temperature)
        divergence = jnp.sum(jnp.exp(teacher) * (teacher - student))
        return weight * temperature**2 * divergence + (1 - weight) * label_cross_entropy(logits, example.y)

    return Loss("kullback_leibler", True, apply)


@functools.cache
def hard_labels() -> Loss:
    """-log s_k at the teacher's arg-max k: what Gecko's published code does."""

    def apply(logits, example):
        return label_cross_entropy(logits, jnp.argmax(example.teacher))

    return Loss("hard_labels", True, apply)
