"""What the server of a split network sees of a record: the activation that it is sent, and its own answer."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.signals.loss import cross_entropy
from gecko_jax.signals.signal import Signal
from gecko_jax.signals.top_posteriors import largest_probabilities
from gecko_jax.types import Array

QUANTILES = np.linspace(0, 1, 11)
MAX_LOSS = 50.0  # nats: a network gets no larger number, and no infinity


def profile_of_activation(activations: Array, logits: Array, y: Array) -> np.ndarray:
    """Returns the three largest probabilities, the loss, and of the activation's numbers the deciles and the log norm.

    Units of two networks do not correspond, so that an attack network could not carry over what it learns of single
    units from shadow models; the deciles do not depend on the units' order.

    Args:
      activations: [..., n, *shape], what `models.split(...).head` sends, of one model or of several.
      logits: [..., n, c] of its tail.
      y: [n] class numbers.

    Returns:
      [..., n, k + 13], with k = 3 probabilities, or 2 of two classes.

    Raises:
      ValueError: activations of other records than the logits, or not finite; logits that are not a classifier's.

    >>> profile_of_activation([[0.0, 3.0, 4.0]], [[0.0, 0.0]], [1]).round(2)[0, [0, 2, 3, 13, 14]].tolist()
    [0.5, 0.69, 0.0, 4.0, 1.61]
    """
    largest, losses = largest_probabilities(logits, y), np.minimum(cross_entropy(logits, y), MAX_LOSS)
    values = checks.finite("activations", np.asarray(activations, np.float64))
    if values.shape[: losses.ndim] != losses.shape or values.ndim == losses.ndim:
        raise ValueError(
            f"activations has shape {values.shape}; expected {losses.shape} records, as the logits have, and their "
            "numbers behind."
        )
    values = values.reshape(*losses.shape, -1)
    deciles = np.moveaxis(np.quantile(values, QUANTILES, axis=-1), 0, -1)
    norms = np.log(np.sqrt(np.square(values).sum(-1)) + 1e-12)
    return np.concatenate([largest, losses[..., None], deciles, norms[..., None]], axis=-1)


activation_profile = Signal("activation_profile", axes=("value",), larger="neither", needs=("activations",))
