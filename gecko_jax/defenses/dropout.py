"""Dropout: a regularizer that was among the first defenses tried."""

from __future__ import annotations

from gecko_jax import models, training
from gecko_jax.defenses.defense import PRIVATE_WAY, Defense, refuse_options
from gecko_jax.models.dropout import check_dropout
from gecko_jax.types import Array, Examples, Model


def dropout(rate: float = 0.5, path: str = "") -> Defense:
    """Builds training with `models.with_dropout`; the trained model answers without it.

    Args:
      rate: chance of a number to be dropped, above 0 and below 1.
      path: a regular expression searched in the layers' paths: only the inputs of these are dropped.

    Raises:
      ValueError: a rate out of bounds, an invalid expression; when it trains, gradients of the caller's, which were
        made for the model without dropout.

    Source: as a defense, Salem et al., "ML-Leaks" (2019), section VI.

    >>> dropout(0.25).name
    'dropout'
    """
    check_dropout(rate, path)

    def train(
        model: Model, data: Examples, member: Array, *, reference: Examples | None = None, **options
    ) -> training.Fit:
        del reference
        refuse_options("dropout", options, ("gradients",), PRIVATE_WAY)
        return training.fit_ensemble(models.with_dropout(model, rate, path), data, member, **options)

    return Defense("dropout", train)
