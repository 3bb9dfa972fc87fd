"""The modified entropy: an entropy that knows the label."""

from __future__ import annotations

import math

import numpy as np

from gecko_jax.signals.class_outputs import check_logits, posteriors, without_column
from gecko_jax.signals.loss import cross_entropy
from gecko_jax.signals.signal import Signal
from gecko_jax.types import Array


def label_entropy(logits: Array, y: Array) -> np.ndarray:
    """Returns -(1 - p_y) log p_y - sum_{i != y} p_i log(1 - p_i) [..., n], nats, of logits [..., n, c], labels y [n].

    0 for certainty in the label, inf for certainty in another class.

    Args:
      logits: [..., n, c], of one model or of several.
      y: [n] class numbers.

    Source: Song and Mittal, "Systematic Evaluation of Privacy Risks of Machine Learning Models" (2021), eq. 8.

    >>> label_entropy([[0.0, -np.inf], [-np.inf, 0.0]], [0, 0]).tolist()
    [0.0, inf]
    """
    logits, column = check_logits(logits, y)
    p, _, log_rest = posteriors(logits)
    wrong = np.where(p > 0, p * log_rest, 0.0)
    others = without_column(p, column, 0.0).sum(-1)  # 1 - p_y without cancellation
    with np.errstate(invalid="ignore"):
        right = np.where(others > 0, others * cross_entropy(logits, y), 0.0)
    return right - without_column(wrong, column, 0.0).sum(-1)


modified_entropy = Signal("modified_entropy", label_entropy, larger="nonmembers", bounds=(0.0, math.inf))
