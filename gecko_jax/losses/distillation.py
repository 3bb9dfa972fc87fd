"""Losses of a student that learns from a teacher's logits. Gradients never reach the teacher: its logits are data.

Logits are [classes], or [t, classes] for a sequence, whose loss is the mean over its t steps.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gecko_jax.checks import at_least, finite, in_range, positive, shape
from gecko_jax.losses.class_weights import checked_weights, weights_of
from gecko_jax.losses.cross_entropy import check_classes, label_cross_entropy
from gecko_jax.losses.example_metrics import accuracy, is_top1
from gecko_jax.losses.shapes import class_numbers, float_outputs
from gecko_jax.types import Array, Batch, Loss, Metric


def teacher_logits(logits: Array, example: Batch) -> Array:
    """Returns the teacher's logits as constants, of the shape of the student's logits [..., classes].

    Raises:
      ValueError: an example without a teacher's logits, or with logits of another shape than the student's.
    """
    float_outputs("distillation", logits, ("...", "classes"))
    extra = example.extra or {}
    if "teacher" not in extra:
        raise ValueError(
            f"example.extra is {example.extra!r}; this loss reads a teacher's logits: pass training.distill(..., "
            'teacher=logits), or extra={"teacher": logits}.'
        )
    return jax.lax.stop_gradient(shape("example.extra['teacher']", extra["teacher"], logits.shape))


@functools.cache
def symmetric_cross_entropy() -> Loss:
    """Builds -sum_k t_k log s_k - sum_k s_k log t_k for posteriors t (teacher) and s (student); y is not used.

    This is Gecko's Phase II as the paper states it. The published code trains on the teacher's arg-max instead, which
    is `hard_labels` here.

    Source: Duddu et al., arXiv 2010.00912, section 4.2.

    >>> example = Batch(x=None, y=0, weight=1.0, extra={"teacher": jnp.zeros(2)})
    >>> round(float(symmetric_cross_entropy().apply(jnp.zeros(2), example)), 4)  # 2 log 2
    1.3863
    """

    def apply(logits, example):
        teacher = jax.nn.log_softmax(teacher_logits(logits, example))
        student = jax.nn.log_softmax(logits)
        each = -jnp.sum(jnp.exp(teacher) * student, -1) - jnp.sum(jnp.exp(student) * teacher, -1)
        return jnp.mean(each)

    return _distillation_loss("symmetric_cross_entropy", apply)


def kullback_leibler(
    temperature: float = 4.0,
    weight: float = 0.9,
    label_weight: float | None = None,
    class_weights: Sequence[float] | None = None,
) -> Loss:
    """Builds weight * T^2 * KL(t_T || s_T) + label_weight * w_y * (-log s_y), with posteriors t_T and s_T at T.

    HE-friendly students (Baruch et al. 2021) take temperature=10, weight=0.1 and label_weight=1.

    Args:
      temperature: T > 0.
      weight: of the teacher's term, 0 to 1.
      label_weight: of the label's term, at least 0; None: 1 - weight.
      class_weights: w of the label's term, one for each class, see `cross_entropy`; None: all are 1.

    Raises:
      ValueError: a temperature that is not above 0, a weight outside 0..1, a label_weight or class_weights below 0.

    Source: Hinton et al., "Distilling the Knowledge in a Neural Network" (2015), section 2.

    >>> example = Batch(x=None, y=0, weight=1.0, extra={"teacher": jnp.zeros(2)})
    >>> float(kullback_leibler(weight=1.0).apply(jnp.zeros(2), example))  # equal posteriors
    0.0
    """
    temperature, weight = float(positive("temperature", temperature)), float(in_range("weight", weight, 0, 1))
    of_label = 1 - weight if label_weight is None else at_least("label_weight", finite("label_weight", label_weight), 0)
    if weight == of_label == 0:
        raise ValueError("weight=0 and label_weight=0: the loss would be 0. Give one of its two terms a weight.")
    return _kullback_leibler(temperature, weight, float(of_label), checked_weights(class_weights))


@functools.cache
def _kullback_leibler(
    temperature: float, weight: float, label_weight: float, class_weights: tuple[float, ...] | None
) -> Loss:

    def apply(logits, example):
        teacher = jax.nn.log_softmax(teacher_logits(logits, example) / temperature)
        student = jax.nn.log_softmax(logits / temperature)
        label = class_numbers("kullback_leibler", example.y, logits.shape[:-1])
        divergence = jnp.sum(jnp.exp(teacher) * (teacher - student), -1)
        of_label = weights_of(class_weights, label_cross_entropy(logits, label), label, logits.shape[-1])
        return jnp.mean(weight * temperature**2 * divergence + label_weight * of_label)

    return _distillation_loss("kullback_leibler", apply)


@functools.cache
def hard_labels() -> Loss:
    """Builds -log s_k at the teacher's arg-max k (the first, on a tie), as Gecko's published code does; y is not used.

    >>> example = Batch(x=None, y=0, weight=1.0, extra={"teacher": jnp.array([0.0, 1.0])})
    >>> round(float(hard_labels().apply(jnp.zeros(2), example)), 4)  # log 2
    0.6931
    """

    def apply(logits, example):
        return jnp.mean(label_cross_entropy(logits, jnp.argmax(teacher_logits(logits, example), -1)))

    return _distillation_loss("hard_labels", apply)


@functools.cache
def agreement() -> Metric:
    """Builds the share of examples on which student and teacher have the same largest logit; y is not used.

    >>> example = Batch(x=None, y=None, weight=1.0, extra={"teacher": jnp.array([0.0, 1.0])})
    >>> float(agreement().apply(jnp.array([0.0, 3.0]), example))
    1.0
    """

    def apply(logits, example):
        return jnp.mean(is_top1(logits, jnp.argmax(teacher_logits(logits, example), -1)).astype(jnp.float32))

    return Metric("agreement", apply)


def _distillation_loss(name: str, apply) -> Loss:
    return Loss(name, apply, accuracy(), reads=("teacher",), check=_check_teacher)


def _check_teacher(outputs: Any, data: Batch) -> None:
    """Raises ValueError for classes that have no logit, and for teacher's logits that are not finite."""
    check_classes(outputs, data)
    finite("extra['teacher']", (data.extra or {})["teacher"])
