"""What answer-time defenses share: logits of one model on the host, as log-probabilities."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.types import Array


def log_probabilities(outputs: Array, temperature: float = 1.0) -> np.ndarray:
    """Returns log softmax(outputs / temperature), float64 [n, classes].

    Args:
      outputs: logits [n, classes] of one model.
      temperature: above 0.

    Raises:
      ValueError: another number of axes or fewer than two classes, or outputs that are not finite.

    >>> log_probabilities(np.zeros((1, 2))).round(3)
    array([[-0.693, -0.693]])
    """
    logits = np.asarray(outputs, np.float64)
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(
            f"outputs have shape {logits.shape}; expected logits (n, classes) of one classifier, two classes or more. "
            "Answer each model by itself: outputs[i] of an ensemble [m, n, classes]."
        )
    logits = checks.finite("outputs", logits) / temperature
    logits = logits - logits.max(1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(1, keepdims=True))
