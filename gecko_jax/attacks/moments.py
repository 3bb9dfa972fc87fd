"""Moments of one signal over the shadow models that had a record and over those that had not, each apart.

Source: Carlini et al., "Membership Inference Attacks From First Principles" (2022), algorithm 1 and sec. VI.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gecko_jax.types import Signals

MIN_VARIANCE_SHARE = 1e-12  # of all values' variance: models that agree to the last bit are still one draw of many


class Side(NamedTuple):
    """One side, IN or OUT, of n records.

    Attributes:
      count: [n] models on this side.
      mean: [n] of their values; of all records' values if the side is empty.
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
    """Returns the moments of values [m, n] over the models that chosen [m, n] bool marks; of all values if it is empty.

    If no record has two models on this side, nothing shows the variance within a record, and the total's stands in.

    >>> side(np.array([[1.0, 2.0], [3.0, 2.0]]), np.ones((2, 2), bool)).mean.tolist()
    [2.0, 2.0]
    """
    if not chosen.any():
        chosen = np.ones_like(chosen)
    count = chosen.sum(0)
    inside = chosen.astype(np.float64)
    overall = np.einsum("mn,mn->", values, inside) / count.sum()
    # About the overall mean, because squares of large values that are near each other cancel.
    centered = (values - overall) * inside
    mean = centered.sum(0) / np.maximum(count, 1)
    squares = np.einsum("mn,mn->n", centered, centered)
    within = np.maximum(squares - count * mean**2, 0.0)
    total = float(squares.sum() / count.sum())
    free = int(np.maximum(count - 1, 0).sum())
    pooled = float(within.sum() / free) if free else total
    return Side(count, mean + overall, within, pooled, total)


def check_both_sides(name: str, member: np.ndarray, inside: bool = True) -> None:
    """Raises ValueError unless the shadows of attack `name` lacked some records and, if `inside`, had some.

    Of a side without any value `side` gives the moments of all values, and a ratio of two equal sides tells nothing.

    >>> check_both_sides("lira", np.array([[True, False]]))
    """
    if member.all() or (inside and not member.any()):
        who = "every record" if member.all() else "no record"
        raise ValueError(
            f"attack {name!r} needs values of {'members and of ' * inside}non-members, and the shadows had {who}; "
            "pass shadows that were trained on some of the records."
        )


def bounded(read: Signals) -> tuple[np.ndarray, np.ndarray]:
    """Returns (values, target), infinities replaced by the ends of what is finite among them: they have no moments.

    phi is infinite if saved probabilities were rounded to 0 or 1.

    >>> bounded(Signals(np.array([[1.0, np.inf]]), np.ones((1, 2), bool), np.array([5.0, -np.inf])))[0].tolist()
    [[1.0, 5.0]]
    """
    values, target = read.values, read.target
    both = np.isfinite(values), np.isfinite(target)
    if both[0].all() and both[1].all():
        return values, target
    finite = np.concatenate([values[both[0]], target[both[1]], [0.0]])
    return np.clip(values, finite.min(), finite.max()), np.clip(target, finite.min(), finite.max())
