"""The loss: minus the logarithm of the label's probability."""

from __future__ import annotations

import math

import numpy as np

from gecko_jax.signals.phi import scaled_confidence
from gecko_jax.signals.signal import Signal
from gecko_jax.types import Array


def cross_entropy(logits: Array, y: Array) -> np.ndarray:
    """Returns -log p_y = log(1 + exp(-phi)) [..., n], nats, of logits [..., n, c] and labels y [n]; inf if p_y is 0.

    Through phi, not logsumexp(z) - z_y: that difference is 0 below 1e-16 of the logits and ties all confident records.

    Args:
      logits: [..., n, c], of one model or of several.
      y: [n] class numbers.

    Source: Yeom et al., "Privacy Risk in Machine Learning" (2018).

    >>> cross_entropy([[0.0, 0.0]], [1]).round(6).tolist()
    [0.693147]
    """
    return np.logaddexp(0.0, -scaled_confidence(logits, y))


loss = Signal("loss", cross_entropy, larger="nonmembers", stands_for=("soft_loss", "phi"), bounds=(0.0, math.inf))
