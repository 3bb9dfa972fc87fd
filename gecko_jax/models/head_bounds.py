"""Bounds on the accuracy of a transformer without some of its attention heads, which held-out rows certify."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

from gecko_jax.models.head_accuracy import HeadAccuracy, Removed
from gecko_jax.types import Estimate


def certified(
    rows: HeadAccuracy, chain: list[Removed], limits: tuple[float | None, float | None], confidence: float
) -> Removed:
    """Returns the largest set of a chain whose accuracy is certified, all smaller ones being certified, too.

    Args:
      rows: of held-out rows.
      chain: sets, each within the next, from the empty one on.
      limits: (floor, max_drop), as of `prune_heads`; one of them is None.
      confidence: of the one-sided bounds.

    Raises:
      ValueError: a floor that is not certified for the empty set.
    """
    floor, max_drop = limits
    full = accuracy_without(rows, chain[0], confidence)
    if floor is not None and (full.low or 0.0) < floor:
        raise ValueError(
            f"floor={floor!r} cannot be certified even with all heads: on held_out the accuracy is {full.value:.4f}, "
            f"its lower bound {full.low:.4f}. Lower the floor, hold out more rows, or limit the drop by max_drop."
        )
    passed = chain[0]
    for state in chain[1:]:
        if floor is not None and (accuracy_without(rows, state, confidence).low or 0.0) < floor:
            break
        if max_drop is not None and (drop_without(rows, state, confidence).high or 0.0) > max_drop:
            break
        passed = state
    return passed


def accuracy_without(rows: HeadAccuracy, state: Removed, confidence: float) -> Estimate:
    """Returns the accuracy on the rows with its one-sided lower bound.

    Args:
      rows: of held-out rows.
      state: the heads that are removed.
      confidence: of the bound.
    """
    hits = rows.hits([state])[0]
    value, low = _ratio(hits, rows.counts, confidence, worst=0.0)
    return Estimate(value, low, 1.0, kind="measured", n=len(hits))


def drop_without(rows: HeadAccuracy, state: Removed, confidence: float) -> Estimate:
    """Returns the accuracy of the whole model minus that without some heads, with its one-sided upper bound.

    Args:
      rows: of held-out rows.
      state: the heads that are removed.
      confidence: of the bound.
    """
    if not state:
        return Estimate(0.0, 0.0, 0.0, kind="measured", n=len(rows.counts))
    full, hits = rows.hits([Removed(), state])
    value, low = _ratio(hits - full, rows.counts, confidence, worst=-1.0)
    return Estimate(-value, -1.0, -low, kind="measured", n=len(hits))


def _ratio(sums: np.ndarray, counts: np.ndarray, confidence: float, worst: float) -> tuple[float, float]:
    """Returns sums over counts and its lower bound, no row being below `worst`; rows are independent."""
    ratio, n = sums.sum() / counts.sum(), len(counts)
    residuals = sums - ratio * counts
    error = np.sqrt(n / max(n - 1, 1) * (residuals**2).sum()) / counts.sum()
    if error > 0:
        return float(ratio), float(max(worst, ratio - stdtrit(n - 1, confidence) * error))
    alike = (1 - confidence) ** (1 / n)  # n rows are the same: so is at least this share of all rows
    return float(ratio), float(alike * ratio + (1 - alike) * worst)
