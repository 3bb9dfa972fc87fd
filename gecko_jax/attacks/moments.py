"""Moments of one signal over the shadow models that had a record and over those that had not, each apart.

Source: Carlini et al., "Membership Inference Attacks From First Principles" (2022), algorithm 1 and sec. VI.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gecko_jax.types import Signals


class Side(NamedTuple):
    """One side, IN or OUT, of n records.

    Attributes:
      count: [n] models on this side.
      mean: [n] of their values; of all records' values where there is no model.
      within: [n] sum of squared deviations from the record's own mean.
      pooled: variance within a record, over all records: sum of `within` over the degrees of freedom.
      total: variance of all values of this side, of whatever record.
    """

    count: np.ndarray
    mean: np.ndarray
    within: np.ndarray
    pooled: float
    total: float


def side(values: np.ndarray, chosen: np.ndarray) -> Side:
    """The moments of values [m, n] where chosen [m, n]; of no model at all, those of all values.

    Where no record has two models on this side, nothing shows the variance within a record: the total's stands in.
    """
    if not chosen.any():
        chosen = np.ones_like(chosen)
    count = chosen.sum(0)
    inside = chosen.astype(np.float64)
    overall = np.einsum("mn,mn->", values, inside) / count.sum()
    # About the overall mean, so that the squares of large values near each other do not cancel.
    centred = (values - overall) * inside
    mean = centred.sum(0) / np.maximum(count, 1)
    squares = np.einsum("mn,mn->n", centred, centred)
    within = np.maximum(squares - count * mean**2, 0.0)
    total = float(squares.sum() / count.sum())
    free = int(np.maximum(count - 1, 0).sum())
    pooled = float(within.sum() / free) if free else total
    return Side(count, mean + overall, within, pooled, total)


def bounded(signals: Signals) -> tuple[np.ndarray, np.ndarray]:
    """(values, target) with infinities, which have no moments, at the ends of what is finite among them.

    phi is infinite where saved probabilities were rounded to 0 or 1.
    """
    values, target = signals.values, signals.target
    both = np.isfinite(values), np.isfinite(target)
    if both[0].all() and both[1].all():
        return values, target
    finite = np.concatenate([values[both[0]], target[both[1]], [0.0]])
    return np.clip(values, finite.min(), finite.max()), np.clip(target, finite.min(), finite.max())
