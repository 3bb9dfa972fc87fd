"""Calibration: whether a model that says 80 % is right 80 % of the time.

Every figure compares, bin by bin, a mean probability with how often the event came true. The event is "the
most likely class is right" (`reliability_bins`, ECE, MCE) or "the class is k" (classwise ECE).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.metrics.intervals import clopper_pearson
from gecko_jax.types import Array

MAX_ROUNDING = 0.005  # of one probability: half a step of two decimal digits, the coarsest encoding that is accepted
MAX_SUM_ERROR = 0.1  # of a row, however many classes it has: a larger error is not a rounding


class ReliabilityBins(NamedTuple):
    """A reliability diagram: one entry for each of b bins of confidence.

    Attributes:
      edges: [b + 1], 0..1, never falling; a bin holds edges[i] < confidence <= edges[i + 1].
      count: [b] int, records in the bin.
      confidence: [b] mean confidence, NaN in an empty bin.
      accuracy: [b] share of right predictions, NaN in an empty bin.
      low, high: [b] 95 % Clopper-Pearson interval of the accuracy; 0 and 1 in an empty bin.
    """

    edges: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray


def sum_tolerance(classes: int) -> float:
    """Returns how far a row of rounded probabilities may miss 1: `MAX_ROUNDING` a class, at most `MAX_SUM_ERROR`.

    Rows in float16, bfloat16, 8 bits or two digits are within; rows cut to their largest entries, percentages and
    independent sigmoids are not.

    >>> round(sum_tolerance(10), 3), round(sum_tolerance(1000), 3)
    (0.05, 0.1)
    """
    return min(MAX_ROUNDING * classes, MAX_SUM_ERROR) + 1e-6  # and the rounding of a sum in float32


def as_probabilities(name: str, probs: Array) -> np.ndarray:
    """Returns `probs` [..., c] as float64.

    Raises:
      ValueError: rows that are not distributions.
    """
    probs = checks.finite(name, np.asarray(probs, np.float64))
    if probs.ndim < 2 or probs.shape[-1] < 2:
        raise ValueError(f"{name} has shape {probs.shape}; expected (..., records, classes) with two classes or more.")
    sums = probs.sum(-1)
    if probs.size and (probs.min() < -1e-6 or np.abs(sums - 1).max() > sum_tolerance(probs.shape[-1])):
        raise ValueError(
            f"{name} does not hold probabilities: entries from {probs.min():.4g}, rows that sum to "
            f"{sums.min():.4g}..{sums.max():.4g} and not 1 (a rounding by {sum_tolerance(probs.shape[-1]):.2g} is "
            "accepted). Give every class its probability: the soft-max of logits, percent / 100, votes / number of "
            "voters, probs / probs.sum(-1, keepdims=True) for scores that are each above 0."
        )
    return np.maximum(probs, 0.0)  # 1 minus the others may be below 0 by a rounding


def check_class_numbers(name: str, labels: Array, shape: tuple[int, int]) -> np.ndarray:
    """Returns `labels` as an array [n], for outputs of shape (n, c).

    Raises:
      ValueError: labels that are not n >= 1 integers in 0..c-1.
    """
    labels = np.asarray(labels)
    checks.shape(name, labels, shape[:1])
    checks.not_empty(name, labels)
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{name} has dtype {labels.dtype}; expected class numbers.")
    if labels.min() < 0 or labels.max() >= shape[1]:
        raise ValueError(f"{name} run from {labels.min()} to {labels.max()}; expected 0..{shape[1] - 1}.")
    return labels


def check_labeled(probs: Array, labels: Array) -> tuple[np.ndarray, np.ndarray]:
    """Returns (probs [n, c] float64, labels [n]), checked: see `as_probabilities` and `check_class_numbers`."""
    probs = checks.shape("probs", as_probabilities("probs", probs), (None, None))
    return probs, check_class_numbers("labels", labels, probs.shape)


class _Sums(NamedTuple):
    """Edges [b + 1] of b bins; their records, their summed probabilities and the events that came true, each [b]."""

    edges: np.ndarray
    count: np.ndarray
    probability: np.ndarray
    true: np.ndarray

    def gaps(self) -> np.ndarray:
        """Returns |share of true events - mean probability| of each bin, 0 of an empty one."""
        return np.abs(self.true - self.probability) / np.maximum(self.count, 1)


def _sums(probability: np.ndarray, true: np.ndarray, bins: int, equal_mass: bool) -> _Sums:
    """Returns the sums over bins of n probabilities and of the events that they were predicted for."""
    edges = np.linspace(0.0, 1.0, bins + 1)
    if equal_mass:
        # Edges are values that occur, so that equal probabilities share a bin whatever the records' order.
        last = -(-np.arange(1, bins) * len(probability) // bins) - 1
        edges[1:-1] = np.sort(probability)[last]
    index = np.maximum(np.searchsorted(edges, probability, "left") - 1, 0)  # a probability of 0 is in the first bin
    count = np.bincount(index, minlength=bins)
    return _Sums(edges, count, *(np.bincount(index, weights=each, minlength=bins) for each in (probability, true)))


def _confidence_sums(probs: Array, labels: Array, bins: int, equal_mass: bool) -> _Sums:
    checks.at_least("bins", bins, 1)
    probs, labels = check_labeled(probs, labels)
    # A probability within the tolerance may exceed 1 by a rounding; it belongs in the last bin.
    return _sums(np.minimum(probs.max(-1), 1.0), probs.argmax(-1) == labels, bins, equal_mass)


def reliability_bins(probs: Array, labels: Array, bins: int = 15, *, equal_mass: bool = False) -> ReliabilityBins:
    """Returns accuracy and mean confidence in bins of the largest probability.

    Args:
      probs: [n, c] probabilities.
      labels: [n] integers in 0..c-1.
      bins: number of bins, at least 1.
      equal_mass: bins of about as many records each, in place of equal width. Equal confidences share a bin; two edges
        may therefore be equal, with an empty bin between them.

    Returns:
      `ReliabilityBins`.

    Raises:
      ValueError: rows that are not distributions, labels of another shape, type or range, no record, or bins < 1.

    Source: equal mass: Nguyen and O'Connor (2015); Nixon et al., "Measuring Calibration in Deep Learning" (2019).

    >>> reliability_bins([[0.6, 0.4], [0.7, 0.3], [0.8, 0.2], [0.9, 0.1]], [0, 0, 1, 0], 2, equal_mass=True).count
    array([2, 2])
    """
    sums = _confidence_sums(probs, labels, bins, equal_mass)
    empty = sums.count == 0
    safe = np.where(empty, np.nan, sums.count)
    low, high = clopper_pearson(sums.true, np.maximum(sums.count, 1))
    return ReliabilityBins(
        edges=sums.edges,
        count=sums.count,
        confidence=sums.probability / safe,
        accuracy=sums.true / safe,
        low=np.where(empty, 0.0, low),
        high=np.where(empty, 1.0, high),
    )


def expected_calibration_error(probs: Array, labels: Array, bins: int = 15, *, equal_mass: bool = False) -> float:
    """Returns the ECE: sum_b (count_b / n) |accuracy_b - confidence_b|.

    Args:
      probs: [n, c] probabilities.
      labels: [n] integers in 0..c-1.
      bins: number of bins.
      equal_mass: bins of equal mass in place of equal width; see `reliability_bins`.

    Returns:
      ECE in 0..1. With few records it is biased upwards, because chance alone separates accuracy from confidence.

    Raises:
      ValueError: see `reliability_bins`.

    Source: Guo et al., "On Calibration of Modern Neural Networks" (2017), eq. 3.

    >>> expected_calibration_error([[0.75, 0.25], [0.75, 0.25]], [0, 0])
    0.25
    """
    return _expected(_confidence_sums(probs, labels, bins, equal_mass))


def _expected(sums: _Sums) -> float:
    return float((sums.count * sums.gaps()).sum() / sums.count.sum())


def maximum_calibration_error(probs: Array, labels: Array, bins: int = 15, *, equal_mass: bool = False) -> float:
    """Returns the MCE: max_b |accuracy_b - confidence_b| over the bins that hold a record.

    Args:
      probs: [n, c] probabilities.
      labels: [n] integers in 0..c-1.
      bins: number of bins.
      equal_mass: bins of equal mass in place of equal width, which keeps a bin of one record from deciding.

    Returns:
      MCE in 0..1, never below the ECE of the same bins.

    Raises:
      ValueError: see `reliability_bins`.

    Source: Guo et al. (2017), eq. 5.

    >>> maximum_calibration_error([[0.75, 0.25], [0.75, 0.25], [1.0, 0.0]], [0, 0, 0])
    0.25
    """
    return float(_confidence_sums(probs, labels, bins, equal_mass).gaps().max())


def classwise_calibration_error(probs: Array, labels: Array, bins: int = 15, *, equal_mass: bool = False) -> float:
    """Returns the classwise ECE: the mean over classes k of the ECE of the event "the class is k".

    For each class: sum_b (count_b / n) |share of class k in bin b - mean probability of k in bin b|.

    ECE reads the largest probability alone; this one reads all of them.

    Args:
      probs: [n, c] probabilities.
      labels: [n] integers in 0..c-1.
      bins: number of bins of each class; a probability of 0 is in the first.
      equal_mass: bins of equal mass in place of equal width: with many classes most probabilities are near 0
        and crowd in the first of the bins of equal width.

    Returns:
      Classwise ECE in 0..1.

    Raises:
      ValueError: see `reliability_bins`.

    Source: Kull et al., "Beyond temperature scaling" (2019); Nixon et al. (2019) call it SCE.

    >>> classwise_calibration_error([[0.75, 0.25], [0.75, 0.25]], [0, 0])
    0.25
    """
    checks.at_least("bins", bins, 1)
    probs, labels = check_labeled(probs, labels)
    columns = np.minimum(probs, 1.0).T
    return float(np.mean([_expected(_sums(p, labels == k, bins, equal_mass)) for k, p in enumerate(columns)]))
