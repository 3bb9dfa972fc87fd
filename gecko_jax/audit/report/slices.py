"""Slices: one attack's figures on some records at a time, for a leak may be small on the whole and large on a class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.audit.report import figures
from gecko_jax.metrics.roc import as_member
from gecko_jax.types import Array, Estimate

LEAST = 2  # members, and non-members, of every target: fewer have no interval


class Slices(NamedTuple):
    """Attributes:
    found: slice -> metric -> Estimate.
    warnings: in words, the slices that have too few records for a figure.
    """

    found: dict[str, dict[str, Estimate]]
    warnings: list[str]


def by_class(y: Array) -> dict[str, np.ndarray]:
    """The records of each class: labels [n] -> {"class 0": bool [n], ...}, the classes that occur, in order.

    >>> by_class(np.array([2, 0, 2]))["class 2"].tolist()
    [True, False, True]
    """
    y = checks.shape("y", np.asarray(y), (None,))
    return {f"class {label}": y == label for label in np.unique(y)}


def of_groups(scores: Array, member: Array, threshold: Array, groups: Mapping[str, Array]) -> Slices:
    """The figures of one attack on each group of records; groups may overlap.

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
      ValueError: wrong shapes, or a group that is no mask.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim not in (1, 2):
        raise ValueError(f"scores has shape {scores.shape}; expected (records,) or (targets, records).")
    member = as_member(checks.shape("member", np.asarray(member), scores.shape))
    threshold = np.broadcast_to(np.asarray(threshold, np.float64), scores.shape)
    scores, member, threshold = (np.atleast_2d(part) for part in (scores, member, threshold))
    found, few = {}, []
    for name, group in groups.items():
        group = checks.shape(f"groups[{name!r}]", np.asarray(group), scores.shape[1:])
        if group.dtype != bool:
            raise ValueError(f"groups[{name!r}] has dtype {group.dtype}; expected a bool for each record.")
        inside, outside = (int(part[:, group].sum(1).min()) for part in (member, ~member))
        if min(inside, outside) < LEAST:
            few.append(f"{name} ({inside} members, {outside} non-members)")
            continue
        parts = zip(scores[:, group], member[:, group], threshold[:, group], strict=True)
        rows = [figures.target_figures(*part) for part in parts]
        found[name] = rows[0] if len(rows) == 1 else figures.over_targets(rows)
    said = "No figures for the slices that have fewer than two members or non-members"
    fewest = ", at the target that has the fewest" if len(scores) > 1 else ""
    return Slices(found, [f"{said}{fewest}: {checks.listed(few)}."] if few else [])


def worst_first(slices: Mapping[str, Mapping[str, Estimate]]) -> list[str]:
    """Names, the largest AUC first; of equals, in the order they came."""
    return sorted(slices, key=lambda name: -slices[name]["auc"].value)


def resolved(figures_of_slice: Mapping[str, Estimate], metric: str) -> bool:
    """Whether a slice has the non-members that `metric` needs."""
    smallest = figures_of_slice["smallest_fpr"].value
    return metric not in figures.FPRS or smallest <= figures.FPRS[metric] * (1 + 1e-9)
