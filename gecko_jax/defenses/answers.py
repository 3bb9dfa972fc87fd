"""What answer-time defenses share: logits of one model on the host, as log-probabilities and back."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.types import Array

MIN_PROBABILITY = 1e-12  # of a released one: a logarithm is finite


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


def released_logarithms(probabilities: np.ndarray, label: np.ndarray, floor: float = MIN_PROBABILITY) -> np.ndarray:
    """Returns log-probabilities that sum to 1 and whose largest one is the model's own label.

    A tie, as rounding makes, is broken in favor of the label, which the service answers anyway.

    Args:
      probabilities: [n, classes], at least 0.
      label: [n], what the model predicts.
      floor: smaller probabilities are raised to it.

    >>> released_logarithms(np.array([[0.5, 0.5]]), np.array([1])).argmax(1)
    array([1])
    """
    raised = np.maximum(probabilities, floor)
    rows = np.arange(len(raised))
    raised[rows, label] = np.maximum(raised[rows, label], raised.max(1) * (1 + 1e-6))
    return np.log(raised / raised.sum(1, keepdims=True))
