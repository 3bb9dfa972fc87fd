"""Whether a model that says 80 % is right 80 % of the time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.metrics.intervals import clopper_pearson
from gecko_jax.types import Array

_SUM_TOLERANCE = 1e-2  # float16 and int8 soft-max rows miss 1 by about this much


class ReliabilityBins(NamedTuple):
    """A reliability diagram: one entry for each of b bins of confidence.

    Attributes:
      edges: [b + 1], 0..1; a bin holds edges[i] < confidence <= edges[i + 1].
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


def as_probabilities(name: str, probs: Array) -> np.ndarray:
    """`probs` [..., c] as float64, or a ValueError unless its rows are distributions."""
    probs = checks.finite(name, np.asarray(probs, np.float64))
    if probs.ndim < 2 or probs.shape[-1] < 2:
        raise ValueError(f"{name} has shape {probs.shape}; expected (..., records, classes) with two classes or more.")
    sums = probs.sum(-1)
    if probs.size and ((probs < 0).any() or np.abs(sums - 1).max() > _SUM_TOLERANCE):
        raise ValueError(
            f"{name} is no array of probabilities: entries from {probs.min():.4g}, rows that sum to "
            f"{sums.min():.4g}..{sums.max():.4g} and not 1. Apply a soft-max to logits first, or pass them as logits."
        )
    return probs


def reliability_bins(probs: Array, labels: Array, bins: int = 15) -> ReliabilityBins:
    """Accuracy and mean confidence in bins of equal width of the largest probability.

    Args:
      probs: [n, c] probabilities.
      labels: [n] integers in 0..c-1.
      bins: number of bins, at least 1.

    Returns:
      The bins; see `ReliabilityBins`.

    Raises:
      ValueError: rows that are no distributions, labels of another shape, type or range, no record, bins < 1.
    """
    checks.at_least("bins", bins, 1)
    probs, labels = as_probabilities("probs", probs), np.asarray(labels)
    checks.shape("probs", probs, (None, None))
    checks.shape("labels", labels, probs.shape[:1])
    checks.not_empty("labels", labels)
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels has dtype {labels.dtype}; expected class numbers.")
    if labels.min() < 0 or labels.max() >= probs.shape[1]:
        raise ValueError(f"labels run from {labels.min()} to {labels.max()}; expected 0..{probs.shape[1] - 1}.")
    # A row within the tolerance may still top 1 by a rounding; it belongs in the last bin.
    confidence, right = np.minimum(probs.max(-1), 1.0), probs.argmax(-1) == labels
    edges = np.linspace(0.0, 1.0, bins + 1)
    index = np.searchsorted(edges, confidence, "left") - 1  # confidence > 0, so the index is never -1
    count = np.bincount(index, minlength=bins)
    right_count = np.bincount(index, weights=right, minlength=bins)
    safe = np.where(count == 0, np.nan, count)
    low, high = clopper_pearson(right_count, np.maximum(count, 1))
    return ReliabilityBins(
        edges=edges,
        count=count,
        confidence=np.bincount(index, weights=confidence, minlength=bins) / safe,
        accuracy=right_count / safe,
        low=np.where(count == 0, 0.0, low),
        high=np.where(count == 0, 1.0, high),
    )


def expected_calibration_error(probs: Array, labels: Array, bins: int = 15) -> float:
    """ECE with bins of equal width: sum_b (count_b / n) |accuracy_b - confidence_b|.

    Args:
      probs: [n, c] probabilities.
      labels: [n] integers in 0..c-1.
      bins: number of bins.

    Returns:
      ECE in 0..1.

    Raises:
      ValueError: see `reliability_bins`.

    Source: Guo et al., "On Calibration of Modern Neural Networks" (2017), eq. 3.

    >>> expected_calibration_error([[0.75, 0.25], [0.75, 0.25]], [0, 0])
    0.25
    """
    result = reliability_bins(probs, labels, bins)
    full = result.count > 0
    gaps = np.abs(result.accuracy[full] - result.confidence[full])
    return float((result.count[full] * gaps).sum() / result.count.sum())
