"""Fine-tuning of the whole network."""

from __future__ import annotations

from gecko_jax.models.fine_tuning.method import FineTuning


def full() -> FineTuning:
    """Trains every parameter.

    Returns:
      A FineTuning that leaves the model as it is.

    >>> full().trainable is None
    True
    """
    return FineTuning("full", lambda model: model, None, merge=lambda variables: variables)
