"""Positive predictive value: the share of true members among those called members, if members are rare."""

from __future__ import annotations

from typing import Any

import numpy as np

from gecko_jax.metrics.intervals import clopper_pearson
from gecko_jax.metrics.roc import called_members, roc_curve, scored_pairs, within_fpr
from gecko_jax.types import Array, Estimate


def positive_predictive_value(tpr: Array | float, fpr: Array | float, prior: float) -> Any:
    """Returns the positive predictive value, prior TPR / (prior TPR + (1 - prior) FPR).

    Args:
      tpr: true-positive rate in 0..1, a number or an array.
      fpr: false-positive rate in 0..1, likewise.
      prior: share of members among those that an attacker may meet, in (0, 1). 0.5 makes an attack
        look better than it is; 0.01 to 0.1 is usual.

    Returns:
      A float, or an array if an argument is one. If both rates are 0, nobody is called a member and nothing is learned:
      the value is the prior.

    Raises:
      ValueError: a rate outside 0..1, or a prior not strictly between 0 and 1.

    Source: Jayaraman et al., "Revisiting Membership Inference Under Realistic Assumptions" (2021).

    >>> round(positive_predictive_value(0.5, 0.01, prior=0.01), 4)
    0.3356
    """
    if not 0 < prior < 1:
        raise ValueError(f"prior={prior!r} must lie strictly between 0 and 1, for example 0.01.")
    tpr, fpr = np.broadcast_arrays(np.asarray(tpr, np.float64), np.asarray(fpr, np.float64))
    for name, rate in (("tpr", tpr), ("fpr", fpr)):
        if not ((rate >= 0) & (rate <= 1)).all():
            raise ValueError(f"{name} holds values outside 0..1, or NaN; expected rates.")
    hits, alarms = prior * tpr, (1 - prior) * fpr
    called = hits + alarms
    value = np.where(called > 0, hits / np.where(called > 0, called, 1.0), prior)
    return float(value) if value.ndim == 0 else value


def predictive_value_interval(
    scores: Array, member: Array, threshold: float | Array, prior: float, confidence: float = 0.95
) -> Estimate:
    """Returns the positive predictive value at a threshold fixed beforehand, with an interval that is never too narrow.

    TPR and FPR each get a Clopper-Pearson interval of confidence 1 - a/2; by Bonferroni both hold with 1 - a. The
    value rises with TPR and falls with FPR; its ends are therefore (TPR_low, FPR_high) and (TPR_high, FPR_low).

    Args:
      scores: [n] numbers, larger for a likelier member.
      member: [n] bool.
      threshold: a number, or one for each record [n]; not chosen on these records.
      prior: share of members in the world, in (0, 1), whatever their share here.
      confidence: 1 - a.

    Returns:
      An Estimate, its n the number of records.

    Raises:
      ValueError: see `roc.called_members` and `positive_predictive_value`.

    >>> scores, member = [3.0, 2.0, 2.0, 1.0], [True, True, False, False]
    >>> estimate = predictive_value_interval(scores, member, threshold=2.0, prior=0.1)
    >>> [round(figure, 3) for figure in estimate[:3]]  # TPR 2 of 2, FPR 1 of 2: 0.1 / (0.1 + 0.9 / 2)
    [0.182, 0.012, 0.947]
    """
    _, member, called = called_members(scores, member, threshold)
    return _interval(int(called[member].sum()), int(called[~member].sum()), member, prior, confidence)


def predictive_value_interval_at_fpr(
    scores: Array, member: Array, fpr: float, prior: float, confidence: float = 0.95
) -> Estimate:
    """Returns the positive predictive value at the curve's last point whose empirical FPR is at most `fpr`.

    The value takes the point's own FPR, which may be smaller than `fpr`. The interval holds as that of a threshold
    fixed beforehand does, for the value at this very threshold; but the same non-members set the threshold and count
    its false positives. It is therefore not an interval of the value at a true FPR of `fpr`: see
    `intervals.tpr_interval_at_fpr`. Without a false positive the value is 1; only the interval shows how sure that is.

    Args:
      scores: [n] numbers, larger for a likelier member.
      member: [n] bool.
      fpr: in 0..1.
      prior: share of members in the world, in (0, 1).
      confidence: of the interval.

    Returns:
      An Estimate, its n the number of records.

    Raises:
      ValueError: see `roc.scored_pairs` and `positive_predictive_value`; fpr outside 0..1.

    >>> scores, member = [3.0, 2.0, 2.0, 1.0], [True, True, False, False]
    >>> estimate = predictive_value_interval_at_fpr(scores, member, fpr=0.1, prior=0.1)
    >>> [round(figure, 4) for figure in estimate[:3]]  # no false positive, of only two non-members
    [1.0, 0.0008, 1.0]
    """
    scores, member = scored_pairs(scores, member)
    curve_fpr, curve_tpr, _ = roc_curve(scores, member)
    last = int(within_fpr(curve_fpr, fpr).sum()) - 1
    hits, alarms = curve_tpr[last] * member.sum(), curve_fpr[last] * (~member).sum()
    return _interval(round(hits), round(alarms), member, prior, confidence)


def _interval(hits: int, alarms: int, member: np.ndarray, prior: float, confidence: float) -> Estimate:
    members, nonmembers = int(member.sum()), int((~member).sum())
    value = positive_predictive_value(hits / members, alarms / nonmembers, prior)
    clopper_pearson(hits, members, confidence)  # refuses a wrong confidence by the value that the caller gave
    each = 1.0 - (1.0 - confidence) / 2.0
    tpr_low, tpr_high = clopper_pearson(hits, members, each)
    fpr_low, fpr_high = clopper_pearson(alarms, nonmembers, each)
    low = positive_predictive_value(tpr_low, fpr_high, prior)
    return Estimate(value, low, positive_predictive_value(tpr_high, fpr_low, prior), n=len(member))
