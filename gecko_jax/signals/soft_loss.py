"""The loss at temperature 2, by which confident records keep more of their differences."""

from __future__ import annotations

import math

import numpy as np

from gecko_jax.signals.loss import cross_entropy
from gecko_jax.signals.signal import Signal
from gecko_jax.types import Array

TEMPERATURE = 2.0


def softened_cross_entropy(logits: Array, y: Array) -> np.ndarray:
    """Returns -log softmax(z / 2)_y [..., n], nats, of logits z [..., n, c] and labels y [n].

    Args:
      logits: [..., n, c], of one model or of several.
      y: [n] class numbers.

    Source: Zarifzadeh, Liu and Shokri, "Low-Cost High-Power Membership Inference Attacks" (2024), released code.

    >>> softened_cross_entropy([[0.0, 0.0]], [1]).round(6).tolist()
    [0.693147]
    """
    return cross_entropy(np.asarray(logits, np.float64) / TEMPERATURE, y)


soft_loss = Signal("soft_loss", softened_cross_entropy, larger="nonmembers", bounds=(0.0, math.inf))
