"""The label's probability."""

from __future__ import annotations

import numpy as np

from gecko_jax.signals.loss import cross_entropy
from gecko_jax.signals.signal import Signal
from gecko_jax.types import Array


def label_probability(logits: Array, y: Array) -> np.ndarray:
    """Returns p_y [..., n] of logits [..., n, c] and labels y [n].

    Args:
      logits: [..., n, c], of one model or of several.
      y: [n] class numbers.

    >>> label_probability([[0.0, 0.0]], [1]).round(6).tolist()
    [0.5]
    """
    return np.exp(-cross_entropy(logits, y))


true_confidence = Signal("true_confidence", label_probability, larger="members", bounds=(0.0, 1.0))
