"""Whether the prediction is right: one bit, which predicted labels suffice for."""

from __future__ import annotations

import numpy as np

from gecko_jax.signals.class_outputs import check_logits
from gecko_jax.signals.signal import Signal
from gecko_jax.types import Array


def is_right(logits: Array, y: Array) -> np.ndarray:
    """Returns 1 [..., n] if the largest of logits [..., n, c] (the first, on a tie) is the label's of y [n], else 0.

    Args:
      logits: [..., n, c], of one model or of several.
      y: [n] class numbers.

    >>> is_right([[2.0, 1.0], [2.0, 1.0]], [0, 1]).tolist()
    [1.0, 0.0]
    """
    logits, column = check_logits(logits, y)
    return (logits.argmax(-1) == column[..., 0]).astype(np.float64)


correct = Signal("correct", is_right, larger="members", outputs="labels", bounds=(0.0, 1.0))
