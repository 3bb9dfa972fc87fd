"""Whether a model that says 80 % is right 80 % of the time.

All of it is a comparison, bin by bin, of a mean probability and of how often the event came true. The event is "the
most likely class is right" (`reliability_bins`, ECE, MCE) or "the class is k" (classwise ECE).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.metrics.intervals import clopper_pearson
from gecko_jax.types import Array

ROUNDING = 0.005  # of one probability: half a step of two decimal digits, the coarsest encoding that is taken
MAX_SUM_ERROR = 0.1  # of a row, however many classes it has: beyond it more is lost than a rounding


class ReliabilityBins(NamedTuple):
    """A reliability diagram: one entry for each of b bins of confidence.

    Attributes:
      edges: [b + 1], 0..1, never falling; a bin holds edges[i] < confidence <= edges[i + 1].
      count: [b] int, records in the bin.
      confidence: [b] mean confidence, NaN in an empty bin.
      accuracy: [b] share of right answers, NaN in an empty bin.
      low, high: [b] 95 % Clopper-Pearson interval of the accuracy; 0 and 1 in an empty bin.
    """

    edges: np.ndarray
    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray


def sum_tolerance(classes: int) -> float:
    """Returns how far a row of rounded probabilities may miss 1: by `ROUNDING` a class, by `MAX_SUM_ERROR` at most.

    float16, bfloat16, 8-bit and two-digit rows are within; rows cut to their largest entries, percent and independent
    sigmoids are not.

    >>> round(sum_tolerance(10), 3), round(sum_tolerance(1000), 3)
    (0.05, 0.1)
    """
    return min(ROUNDING * classes, MAX_SUM_ERROR) + 1e-6  # and what adding up in float32 may lose


def as_probabilities(name: str, probs: Array) -> np.ndarray:
    """`probs` [..., c] as float64, or a ValueError unless its rows are distributions."""
    probs = checks.finite(name, np.asarray(probs, np.float64))
    if probs.ndim < 2 or probs.shape[-1] < 2:
        raise ValueError(f"{name} has shape {probs.shape}; expected (..., records, classes) with two classes or more.")
    sums = probs.sum(-1)
    if probs.size and (probs.min() < -1e-6 or np.abs(sums - 1).max() > sum_tolerance(probs.shape[-1])):
        raise ValueError(
            f"{name} is no array of probabilities: entries from {probs.min():.4g}, rows that sum to "
            f"{sums.min():.4g}..{sums.max():.4g} and not 1 (a rounding by {sum_tolerance(probs.shape[-1]):.2g} is "
            "taken). Give every class its probability: the soft-max of logits, percent / 100, votes / number of "
            "voters, probs / probs.sum(-1, keepdims=True) for scores that are each above 0."
        )
    return np.maximum(probs, 0.0)  # 1 less the others may miss 0 by a rounding


def class_numbers(name: str, labels: Array, shape: tuple[int, int]) -> np.ndarray:
    """`labels` as an array [n], or a ValueError unless they are n >= 1 integers in 0..c-1, for shape = (n, c)."""
    labels = np.asarray(labels)
    checks.shape(name, labels, shape[:1])
    checks.not_empty(name, labels)
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{name} has dtype {labels.dtype}; expected class numbers.")
    if labels.min() < 0 or labels.max() >= shape[1]:
        raise ValueError(f"{name} run from {labels.min()} to {labels.max()}; expected 0..{shape[1] - 1}.")
    return labels


def labelled(probs: Array, labels: Array) -> tuple[np.ndarray, np.ndarray]:
    """(probs [n, c] float64, labels [n]), or a ValueError: see `as_probabilities` and `class_numbers`."""
    probs = checks.shape("probs", as_probabilities("probs", probs), (None, None))
    return probs, class_numbers("labels", labels, probs.shape)


class _Sums(NamedTuple):
    """Of b bins: their edges [b + 1], records, probabilities summed and events that came true, each [b]."""

    edges: np.ndarray
    count: np.ndarray
    probability: np.ndarray
    true: np.ndarray

    def gaps(self) -> np.ndarray:
        """|share of true events - mean probability| in each bin, 0 in an empty one."""
        return np.abs(self.true - self.probability) / np.maximum(self.count, 1)


def _sums(probability: np.ndarray, true: np.ndarray, bins: int, equal_mass: bool) -> _Sums:
    """Sorts n probabilities, and the events they were given for, into bins."""
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
    probs, labels = labelled(probs, labels)
    # A row within the tolerance may still top 1 by a rounding; it belongs in the last bin.
    return _sums(np.minimum(probs.max(-1), 1.0), probs.argmax(-1) == labels, bins, equal_mass)


def reliability_bins(probs: Array, labels: Array, bins: int = 15, *, equal_mass: bool = False) -> ReliabilityBins:
    """Accuracy and mean confidence in bins of the largest probability.

    Args:
      probs: [n, c] probabilities.
      labels: [n] integers in 0..c-1.
      bins: number of bins, at least 1.
      equal_mass: whether each bin holds as many records as the next, as far as equal confidences, which share a bin,
        allow; otherwise bins have equal widths. Of the edges of equal mass, two may be equal and hold an empty bin.

    Returns:
      The bins; see `ReliabilityBins`.

    Raises:
      ValueError: rows that are no distributions, labels of another shape, type or range, no record, bins < 1.

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
    """ECE: sum_b (count_b / n) |accuracy_b - confidence_b|.

    Args:
      probs: [n, c] probabilities.
      labels: [n] integers in 0..c-1.
      bins: number of bins.
      equal_mass: bins of equal mass in place of equal width; see `reliability_bins`.

    Returns:
      ECE in 0..1. With few records it is biased upwards: chance alone parts accuracy from confidence in a bin.

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
    """MCE: max_b |accuracy_b - confidence_b| over the bins that hold a record.

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
    """Classwise ECE: mean over the classes k of sum_b (count_bk / n) |share of class k_b - mean probability of k_b|.

    ECE reads the largest probability alone; this one reads all of them.

    Args:
      probs: [n, c] probabilities.
      labels: [n] integers in 0..c-1.
      bins: number of bins of each class; a probability of 0 is in the first.
      equal_mass: bins of equal mass in place of equal width: with many classes most probabilities are near 0, and
        bins of equal width see one crowded bin.

    Returns:
      Classwise ECE in 0..1.

    Raises:
      ValueError: see `reliability_bins`.

    Source: Kull et al., "Beyond temperature scaling" (2019); Nixon et al. (2019) call it SCE.

    >>> classwise_calibration_error([[0.75, 0.25], [0.75, 0.25]], [0, 0])
    0.25
    """
    checks.at_least("bins", bins, 1)
    probs, labels = labelled(probs, labels)
    columns = np.minimum(probs, 1.0).T
    return float(np.mean([_expected(_sums(p, labels == k, bins, equal_mass)) for k, p in enumerate(columns)]))
