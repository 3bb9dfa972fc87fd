"""Label smoothing: targets that leave some probability to every class."""

from __future__ import annotations

from gecko_jax import losses, training
from gecko_jax.defenses.defense import PRIVATE_WAY, Defense, refuse_options
from gecko_jax.types import Array, Examples, Model


def label_smoothing(smoothing: float = 0.1) -> Defense:
    """Builds training on `losses.smoothed_cross_entropy`: it bounds the confidence that training aims at.

    It is a regularizer, not a protection: the loss of members gathers around the smoothed target's, and an attack with
    shadow models that were smoothed alike can tell members more easily than without it.

    Args:
      smoothing: share of each target that is spread over all classes, at least 0 and below 1.

    Raises:
      ValueError: smoothing out of bounds; when it trains, a loss or gradients of the caller's.

    Source: Szegedy et al. (2016), section 7; as a defense, Chen et al., "RelaxLoss" (2022), section 5.

    >>> label_smoothing(0.2).name
    'label_smoothing'
    """
    loss = losses.smoothed_cross_entropy(smoothing)

    def train(
        model: Model, data: Examples, member: Array, *, reference: Examples | None = None, **options
    ) -> training.Fit:
        del reference
        refuse_options("label_smoothing", options, ("loss",), "Leave loss out, or defend by another way")
        refuse_options("label_smoothing", options, ("gradients",), PRIVATE_WAY)
        return training.fit_ensemble(model, data, member, **{**options, "loss": loss, "gradients": None})

    return Defense("label_smoothing", train)
