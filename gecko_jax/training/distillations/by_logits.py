"""Distillations that match the teacher's logits by one loss; see `gecko_jax.losses.distillation` for the formulas."""

from __future__ import annotations

from gecko_jax import losses
from gecko_jax.training.distillations.distillation import Distillation, by_loss


def symmetric_cross_entropy() -> Distillation:
    """Builds Gecko's Phase II, `losses.symmetric_cross_entropy`: no labels, no temperature.

    >>> symmetric_cross_entropy().name
    'symmetric_cross_entropy'
    """
    return by_loss("symmetric_cross_entropy", losses.symmetric_cross_entropy())


def kullback_leibler(temperature: float = 4.0, weight: float = 0.9) -> Distillation:
    """Builds Hinton's distillation, `losses.kullback_leibler`.

    Args:
      temperature, weight: see the loss.

    >>> kullback_leibler(temperature=2.0).name
    'kullback_leibler'
    """
    return by_loss("kullback_leibler", losses.kullback_leibler(temperature, weight))


def hard_labels() -> Distillation:
    """Builds the training on the teacher's arg-max, `losses.hard_labels`.

    >>> hard_labels().name
    'hard_labels'
    """
    return by_loss("hard_labels", losses.hard_labels())
