"""The ROC curve of a membership attack, and the figures taken from it.

A record is called a member if its score >= the threshold. Nothing is interpolated and no convex hull is taken, because
both flatter an attack: a hull gives pure noise an AUC of .58 at 50 + 50 records. jax_privacy's curve is the hull, and
its AUC and its TPR at an FPR are at least as large as these. Scores may be infinite, never NaN.
A point is at an empirical FPR. A band of TPRs around the curve (Clopper-Pearson, point by point) holds at the points'
thresholds, not at those FPRs: see `intervals.tpr_interval_at_fpr`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gecko_jax import checks
from gecko_jax.types import Array


def scored_pairs(scores: Array, member: Array) -> tuple[np.ndarray, np.ndarray]:
    """Checks scores and memberships, and returns them as float64 [n] and bool [n].

    Args:
      scores: [n] numbers, larger for a likelier member; +-inf allowed.
      member: [n] bool (or 0 and 1), at least one record of each kind.

    Raises:
      ValueError: wrong shapes, NaN scores, a member that is neither bool nor 0/1, or one kind of record missing.

    >>> scored_pairs([3, 1], [1, 0])
    (array([3., 1.]), array([ True, False]))
    """
    scores, member = np.asarray(checks.unmasked("scores", scores), np.float64), as_member(member)
    if scores.ndim != 1:
        raise ValueError(f"scores has shape {scores.shape}; expected (records,): one target at a time, never pooled.")
    checks.shape("member", member, scores.shape)
    if np.isnan(scores).any():
        raise ValueError(f"scores holds {int(np.isnan(scores).sum())} NaN of {len(scores)}; a NaN cannot be ranked.")
    if member.all() or not member.any():
        missing = "non-member" if member.any() else "member"
        raise ValueError(f"member marks no {missing} among {len(member)} records; both kinds are needed.")
    return scores, member


def as_member(member: Array) -> np.ndarray:
    """Returns `member` as bool, of any shape.

    Raises:
      ValueError: integers other than 0 and 1; a list of indices would otherwise be taken for a mask.
    """
    member = np.asarray(checks.unmasked("member", member))
    if member.dtype != bool and not np.isin(member, (0, 1)).all():
        raise ValueError(f"member has dtype {member.dtype} and values other than 0 and 1; expected a bool per record.")
    return member.astype(bool)


def roc_curve(scores: Array, member: Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns every point of the empirical ROC curve, one for each distinct score.

    Args:
      scores: [n] numbers, larger for a likelier member.
      member: [n] bool.

    Returns:
      (fpr, tpr, thresholds), each [k + 1] for k distinct scores, thresholds falling. The first point is (0, 0), where
      nobody is called a member; its threshold is given as inf.

    Raises:
      ValueError: see `scored_pairs`.

    >>> fpr, tpr, thresholds = roc_curve([3.0, 2.0, 2.0, 1.0], [True, True, False, False])
    >>> fpr.tolist(), tpr.tolist(), thresholds.tolist()
    ([0.0, 0.0, 0.5, 1.0], [0.0, 0.5, 1.0, 1.0], [inf, 3.0, 2.0, 1.0])
    """
    scores, member = scored_pairs(scores, member)
    order = np.argsort(-scores, kind="stable")
    ranked, hit = scores[order], member[order]
    last = np.append(ranked[1:] != ranked[:-1], True)  # the last record of each run of equal scores
    true_positives, false_positives = np.cumsum(hit)[last], np.cumsum(~hit)[last]
    fpr = np.append(0.0, false_positives / false_positives[-1])
    tpr = np.append(0.0, true_positives / true_positives[-1])
    return fpr, tpr, np.append(np.inf, ranked[last])


def roc_auc(scores: Array, member: Array) -> float:
    """Returns the AUC (Mann-Whitney): the chance that a random member scores above a random non-member, ties half.

    Args:
      scores: [n] numbers, larger for a likelier member.
      member: [n] bool.

    Returns:
      AUC in 0..1; 1/2 for an attack that learns nothing.

    Raises:
      ValueError: see `scored_pairs`.

    >>> roc_auc([3.0, 2.0, 2.0, 1.0], [True, True, False, False])
    0.875
    """
    scores, member = scored_pairs(scores, member)
    return float(shares_below(scores[member], scores[~member]).mean())


def shares_below(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Returns for each of values [k] the share of `reference` below it, equals counted half."""
    reference = np.sort(reference)
    below = np.searchsorted(reference, values, "left")
    up_to = np.searchsorted(reference, values, "right")
    return (below + up_to) / (2.0 * len(reference))


def tpr_at_fpr(scores: Array, member: Array, fpr: float) -> float:
    """Returns the largest TPR among the curve's points whose empirical FPR is at most `fpr`.

    Args:
      scores: [n] numbers, larger for a likelier member.
      member: [n] bool.
      fpr: the false-positive rate allowed, in 0..1. Below `smallest_fpr(member)` it means no false positive at all.

    Returns:
      TPR in 0..1.

    Raises:
      ValueError: see `scored_pairs`; fpr outside 0..1.

    >>> tpr_at_fpr([3.0, 2.0, 2.0, 1.0], [True, True, False, False], fpr=0.1)
    0.5
    """
    curve_fpr, curve_tpr, _ = roc_curve(scores, member)
    return float(curve_tpr[within_fpr(curve_fpr, fpr)][-1])  # the curve never falls: the last point is the largest


def within_fpr(curve_fpr: np.ndarray, fpr: float) -> np.ndarray:
    """Returns bool [k]: which points' empirical FPR is at most `fpr`, except for the rounding of `fpr` itself.

    A rate means what it was written as: float32(0.01), which is 2e-10 below 0.01, means 1 of 100. So does a float64
    that arithmetic left one step below (1 - 0.9 for 0.1).

    Raises:
      ValueError: fpr outside 0..1, or not a number.

    >>> within_fpr(np.array([0.0, 0.01, 0.02]), np.float32(0.01)).tolist()
    [True, True, False]
    """
    value: Any = np.asarray(fpr)
    if value.ndim == 0 and value.dtype.kind == "f" and value.dtype.itemsize < 8:
        fpr = float(np.format_float_positional(value[()], unique=True))  # the shortest decimal that this float means
    checks.in_range("fpr", fpr, 0.0, 1.0)
    return curve_fpr <= float(fpr) * (1 + 1e-9)


def smallest_fpr(member: Array) -> float:
    """Returns the smallest non-zero FPR that the sample can show: 1 / number of non-members.

    Args:
      member: [n] bool.

    Raises:
      ValueError: no non-member.

    >>> smallest_fpr([True, False, False, False, False])
    0.25
    """
    nonmembers = int((~as_member(member)).sum())
    if nonmembers == 0:
        raise ValueError("member marks no non-member; a false-positive rate needs at least one.")
    return 1.0 / nonmembers


def advantage(scores: Array, member: Array, threshold: float | Array) -> float:
    """Returns the advantage, TPR - FPR at a threshold (Yeom et al. 2018, definition 4).

    Args:
      scores: [n] numbers, larger for a likelier member.
      member: [n] bool.
      threshold: a number, or one for each record [n]. It must not have been chosen on these records.

    Returns:
      Advantage in -1..1; 0 for an attack that learns nothing.

    Raises:
      ValueError: see `scored_pairs`; a NaN threshold or one of another shape.

    >>> advantage([3.0, 2.0, 2.0, 1.0], [True, True, False, False], threshold=3.0)
    0.5
    """
    scores, member, called = called_members(scores, member, threshold)
    return float(called[member].mean() - called[~member].mean())


def balanced_accuracy(scores: Array, member: Array, threshold: float | Array) -> float:
    """Returns the balanced accuracy, (TPR + 1 - FPR) / 2 at a threshold: the "attack accuracy".

    It does not depend on the share of members.

    Args:
      scores: [n] numbers, larger for a likelier member.
      member: [n] bool.
      threshold: a number, or one for each record [n]. It must not have been chosen on these records.

    Returns:
      Balanced accuracy in 0..1; 1/2 for an attack that learns nothing.

    Raises:
      ValueError: see `scored_pairs`; a NaN threshold or one of another shape.

    >>> balanced_accuracy([3.0, 2.0, 2.0, 1.0], [True, True, False, False], threshold=3.0)
    0.75
    """
    return (1.0 + advantage(scores, member, threshold)) / 2.0


def called_members(scores: Array, member: Array, threshold: float | Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (scores, member, scores >= threshold), checked."""
    scores, member = scored_pairs(scores, member)
    threshold = np.asarray(threshold, np.float64)
    if threshold.shape not in ((), scores.shape):
        raise ValueError(f"threshold has shape {threshold.shape}; expected () or one for each record {scores.shape}.")
    if np.isnan(threshold).any():
        raise ValueError("threshold holds NaN; choose it on shadow models or on held-out records first.")
    return scores, member, scores >= threshold
