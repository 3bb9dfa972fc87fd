"""Proper scores: the mean over the records is smallest for the true probabilities, and for no others.

They penalize miscalibration and ignorance at once; `calibration` looks at the former alone.
"""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.metrics.calibration import check_labeled
from gecko_jax.types import Array

MIN_PROBABILITY = float(np.finfo(np.float64).eps)


def brier_score(probs: Array, labels: Array) -> float:
    """Returns the Brier score: the mean over records of sum_k (p_k - [k is the label])^2.

    Args:
      probs: [n, c] probabilities.
      labels: [n] integers in 0..c-1.

    Returns:
      A number in 0..2. This is Brier's own form; for two classes, half of it is the squared error of one probability.

    Raises:
      ValueError: rows that are not distributions, labels of another shape, type or range, or no record.

    Source: Brier, "Verification of Forecasts Expressed in Terms of Probability" (1950).

    >>> brier_score([[0.75, 0.25]], [0])
    0.125
    """
    probs, labels = check_labeled(probs, labels)
    distance = probs.copy()
    distance[np.arange(len(labels)), labels] -= 1.0
    return float((distance**2).sum(-1).mean())


def negative_log_likelihood(probs: Array, labels: Array, smallest: float = MIN_PROBABILITY) -> float:
    """Returns the NLL: the mean over records of -log max(p_label, smallest), in nats.

    Because of the clipping one confident error costs -log(smallest), 36 nats, and not infinitely much. If soft-max in
    float32 has rounded probabilities to 0, the figure is a lower bound of the true one.

    Args:
      probs: [n, c] probabilities; rows that sum to 1 but for a rounding are taken as they are.
      labels: [n] integers in 0..c-1.
      smallest: a smaller probability of the label counts as this one; above 0, 2^-52 by default.

    Returns:
      The NLL, at least 0 except for a rounding of the probabilities above 1.

    Raises:
      ValueError: see `brier_score`; `smallest` not in 0..1 or 0.

    Source: Guo et al., "On Calibration of Modern Neural Networks" (2017), section 2.

    >>> round(negative_log_likelihood([[0.5, 0.5], [1.0, 0.0]], [0, 0]), 4)  # log(2) / 2
    0.3466
    """
    checks.in_range("smallest", checks.positive("smallest", smallest), 0, 1)
    probs, labels = check_labeled(probs, labels)
    return float(-np.log(np.maximum(probs[np.arange(len(labels)), labels], smallest)).mean())
