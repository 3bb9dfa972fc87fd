"""The most exposed records: the members that an attack is surest of."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.metrics.roc import as_member
from gecko_jax.types import Array


class MostExposed(NamedTuple):
    """The k most exposed members, in order.

    Attributes:
      attack: whose scores.
      rows: int [k], their places among the audited records.
      score: [k] float; of several targets, the median of those that had the record (the lower of two).
      fpr: [k] float, the share of non-members that score as high or higher; of several targets, the mean.
      targets: int [k], how many targets had the record.
      label: [k] class numbers, or None.
      id: [k] the records' names, or None.
      x: [k, ...] the records, or None. They are shown, and never written to JSON.
    """

    attack: str
    rows: np.ndarray
    score: np.ndarray
    fpr: np.ndarray
    targets: np.ndarray
    label: np.ndarray | None = None
    id: np.ndarray | None = None
    x: np.ndarray | None = None

    def without_records(self) -> dict[str, Any]:
        """Returns the fields by name, without x: what JSON holds of it."""
        return {name: part for name, part in self._asdict().items() if name != "x"}


def most_exposed(
    scores: Array,
    member: Array,
    count: int = 16,
    *,
    attack: str = "",
    y: Array | None = None,
    id: Array | None = None,
    x: Array | None = None,
) -> MostExposed:
    """Returns the members with the highest scores.

    A record's FPR in a target that had it is the share of that target's non-members with a score at least its own:
    the false alarms that calling it a member would cost. Records are ranked by the mean of that rate over the targets
    that had them; ties by the mean share of the target's members with a score at least their own, then by the number of
    targets that had them, then by their places. For one target that is the order of the scores. Scores of several
    targets are never compared.

    Args:
      scores: [n] of one target, or [m, n] of m targets.
      member: bool, of the scores' shape; every target has members and non-members.
      count: how many; all members of any target, if there are fewer.
      attack: its name, chosen before its figures were seen.
      y: [n] labels.
      id: [n] names of the records.
      x: [n, ...] records, to be shown.

    Returns:
      MostExposed, with a copy of the chosen records alone.

    Raises:
      ValueError: wrong shapes, NaN scores, or a target with members or non-members alone.
    """
    count = checks.integer("count", count, 1)
    scores = np.asarray(scores, np.float64)
    if scores.ndim not in (1, 2):
        raise ValueError(f"scores has shape {scores.shape}; expected (records,) or (targets, records).")
    member = as_member(checks.shape("member", np.asarray(member), scores.shape))
    scores, member = np.atleast_2d(scores), np.atleast_2d(member)
    if np.isnan(scores).any():
        raise ValueError(f"scores holds {int(np.isnan(scores).sum())} NaN of {scores.size}; a NaN cannot be ranked.")
    if member.all(1).any() or not member.any(1).all():
        raise ValueError("member has a target without members or without non-members; both kinds are needed.")
    for name, part in (("y", y), ("id", id), ("x", x)):
        if part is not None and len(part) != scores.shape[1]:
            raise ValueError(f"{name} has {len(part)} rows; expected one for each of {scores.shape[1]} records.")
    had = member.sum(0)
    rates, ranks = (
        np.where(member, [_at_least(row, row[part]) for row, part in zip(scores, kind, strict=True)], 0.0).sum(0)
        / np.maximum(had, 1)
        for kind in (~member, member)
    )
    candidates = np.flatnonzero(had)
    keys = (-had[candidates], ranks[candidates], rates[candidates])  # the last is the first to be sorted by
    rows = candidates[np.lexsort(keys)][:count]
    score = np.array([_lower_median(scores[member[:, row], row]) for row in rows])
    label, names, shown = (None if part is None else np.asarray(part)[rows] for part in (y, id, x))
    return MostExposed(attack, rows, score, rates[rows], had[rows], label, names, shown)


def _at_least(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Returns for each of values [n] the share of `reference` at or above it."""
    return 1.0 - np.searchsorted(np.sort(reference), values, "left") / len(reference)


def _lower_median(values: np.ndarray) -> float:
    """Returns the lower median, a value that occurs, because infinite ones have no mean."""
    return float(np.sort(values)[(len(values) - 1) // 2])
