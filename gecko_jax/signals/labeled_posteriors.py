"""All probabilities and the label: features for an attack network."""

from __future__ import annotations

import numpy as np

from gecko_jax.signals.class_outputs import check_logits, posteriors
from gecko_jax.signals.signal import Signal
from gecko_jax.types import Array


def probabilities_and_label(logits: Array, y: Array) -> np.ndarray:
    """Returns the probabilities and behind them the label's one-hot row, [..., n, 2 c].

    Args:
      logits: [..., n, c], of one model or of several.
      y: [n] class numbers.

    >>> probabilities_and_label([[0.0, 0.0]], [1]).round(6).tolist()
    [[0.5, 0.5, 0.0, 1.0]]
    """
    logits, column = check_logits(logits, y)
    label = np.zeros(logits.shape)
    np.put_along_axis(label, column, 1.0, -1)
    return np.concatenate([posteriors(logits)[0], label], axis=-1)


labeled_posteriors = Signal("labeled_posteriors", probabilities_and_label, axes=("value",), larger="neither")
