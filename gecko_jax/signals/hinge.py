"""The hinge: how far the label's logit lies above the best of the others."""

from __future__ import annotations

import numpy as np

from gecko_jax.signals.class_outputs import at_column, check_logits, without_column
from gecko_jax.signals.signal import Signal
from gecko_jax.types import Array


def margin(logits: Array, y: Array) -> np.ndarray:
    """Returns z_y - max_{k != y} z_k [..., n] of logits z [..., n, c] and labels y [n].

    Above 0 if the prediction is right; inf if every other probability is 0.

    Args:
      logits: [..., n, c], of one model or of several.
      y: [n] class numbers.

    >>> margin([[3.0, 1.0, 2.5]], [0]).tolist()
    [0.5]
    """
    logits, column = check_logits(logits, y)
    return at_column(logits, column) - without_column(logits, column, -np.inf).max(-1)


hinge = Signal("hinge", margin, larger="members")
