"""Slices: one attack's figures on some records at a time, because a leak may be small overall and large in a class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.audit.report import figures
from gecko_jax.metrics.roc import as_member
from gecko_jax.types import Array, Estimate

MIN_RECORDS = 2  # members, and non-members, of every target: fewer have no interval


class Slices(NamedTuple):
    """Figures of slices.

    Attributes:
      figures: slice -> metric -> Estimate.
      warnings: a sentence about the slices that have too few records for a figure.
    """

    figures: dict[str, dict[str, Estimate]]
    warnings: list[str]


def by_class(y: Array) -> dict[str, np.ndarray]:
    """Returns the records of each class: labels [n] -> {"class 0": bool [n], ...}, the classes that occur, in order.

    >>> by_class(np.array([2, 0, 2]))["class 2"].tolist()
    [True, False, True]
    """
    y = checks.shape("y", np.asarray(y), (None,))
    return {f"class {label}": y == label for label in np.unique(y)}


def of_groups(scores: Array, member: Array, threshold: Array, groups: Mapping[str, Array]) -> Slices:
    """Returns the figures of one attack on each group of records; groups may overlap.

    Args:
      scores: [n] of one target, or [m, n] of m >= 2 targets.
      member: bool, of the scores' shape.
      threshold: one for each score, not chosen on these records, or a number.
      groups: name -> bool [n].

    Returns:
      Slices in the order of the groups. Of one target, with intervals over the group's records; of m targets, means
      with Student t intervals over targets. A group with fewer than two members or non-members of some target has no
      figures and a warning.

    Raises:
      ValueError: wrong shapes, or a group that is not a mask.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim not in (1, 2):
        raise ValueError(f"scores has shape {scores.shape}; expected (records,) or (targets, records).")
    member = as_member(checks.shape("member", np.asarray(member), scores.shape))
    threshold = np.broadcast_to(np.asarray(threshold, np.float64), scores.shape)
    scores, member, threshold = (np.atleast_2d(part) for part in (scores, member, threshold))
    by_slice, few = {}, []
    for name, group in groups.items():
        group = checks.shape(f"groups[{name!r}]", np.asarray(group), scores.shape[1:])
        if group.dtype != bool:
            raise ValueError(f"groups[{name!r}] has dtype {group.dtype}; expected a bool for each record.")
        inside, outside = (int(part[:, group].sum(1).min()) for part in (member, ~member))
        if min(inside, outside) < MIN_RECORDS:
            few.append(f"{name} ({inside} members, {outside} non-members)")
            continue
        parts = zip(scores[:, group], member[:, group], threshold[:, group], strict=True)
        rows = [figures.target_figures(*part) for part in parts]
        by_slice[name] = rows[0] if len(rows) == 1 else figures.over_targets(rows)
    text = "No figures for the slices that have fewer than two members or non-members"
    fewest = ", at the target with the fewest" if len(scores) > 1 else ""
    return Slices(by_slice, [f"{text}{fewest}: {checks.listed(few)}."] if few else [])


def worst_first(slices: Mapping[str, Mapping[str, Estimate]]) -> list[str]:
    """Returns the names by falling AUC; equals in their given order."""
    return sorted(slices, key=lambda name: -slices[name]["auc"].value)


def resolved(figures_of_slice: Mapping[str, Estimate], metric: str) -> bool:
    """Returns whether a slice has the non-members that `metric` needs."""
    smallest = figures_of_slice["smallest_fpr"].value
    return metric not in figures.FPRS or smallest <= figures.FPRS[metric] * (1 + 1e-9)
