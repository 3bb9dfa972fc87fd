"""The logit-scaled confidence: log odds of the label, whose distribution over models is nearly normal."""

from __future__ import annotations

import numpy as np

from gecko_jax.signals.class_outputs import at_column, check_logits, logsumexp, without_column
from gecko_jax.signals.signal import Signal
from gecko_jax.types import Array


def scaled_confidence(logits: Array, y: Array) -> np.ndarray:
    """Returns z_y - logsumexp_{k != y} z_k = log(p_y / (1 - p_y)) [..., n] of logits z [..., n, c] and labels y [n].

    +inf if every other probability is 0, -inf if p_y is.

    Args:
      logits: [..., n, c], of one model or of several.
      y: [n] class numbers.

    Source: Carlini et al., "Membership Inference Attacks From First Principles" (2022), sec. VI-A.

    >>> scaled_confidence([[3.0, 1.0]], [0]).tolist()
    [2.0]
    """
    logits, column = check_logits(logits, y)
    return at_column(logits, column) - logsumexp(without_column(logits, column, -np.inf))


phi = Signal("phi", scaled_confidence, larger="members")
