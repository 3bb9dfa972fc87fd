"""Confidence intervals of an audit's figures, each an `Estimate` that carries its number of trials.

Over records of one target: Clopper-Pearson for rates, DeLong for the AUC. Over targets or seeds: Student t.
The two answer different questions, and one cannot replace the other: a target is one draw of a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from gecko_jax import checks
from gecko_jax.metrics.roc import called_members, roc_auc, scored_pairs, shares_below, tpr_at_fpr
from gecko_jax.types import Array, Estimate


def _tail(confidence: float) -> float:
    """Returns the probability that is left on each side."""
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence={confidence!r} must lie strictly between 0 and 1, for example 0.95.")
    return (1.0 - confidence) / 2.0


def clopper_pearson(successes: Array | float, trials: Array | float, confidence: float = 0.95) -> tuple[Any, Any]:
    """Returns the exact two-sided interval of a proportion.

    low = Beta(a/2; k, n-k+1), high = Beta(1-a/2; k+1, n-k), with 0 and 1 at the ends.

    Args:
      successes: k, an integer or an array of them.
      trials: n >= 1, likewise; k <= n.
      confidence: 1 - a.

    Returns:
      (low, high): floats, or arrays if the arguments are arrays.

    Raises:
      ValueError: k outside 0..n, n < 1, a value that is not an integer, or confidence outside (0, 1).

    Source: Clopper and Pearson, Biometrika 26 (1934).

    >>> low, high = clopper_pearson(0, 10)
    >>> low, round(high, 4)
    (0.0, 0.3085)
    """
    tail = _tail(confidence)
    k, n = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(trials, np.float64))
    if not ((k == np.floor(k)) & (n == np.floor(n)) & (k >= 0) & (k <= n) & (n >= 1)).all():
        raise ValueError(
            f"successes={successes!r} and trials={trials!r} must be integers, 0 <= successes <= trials, trials >= 1."
        )
    # The ends have closed forms, and betaincinv needs both of its parameters above 0.
    low = np.where(k == 0, 0.0, special.betaincinv(np.maximum(k, 1), n - k + 1, tail))
    high = np.where(k == n, 1.0, special.betaincinv(k + 1, np.maximum(n - k, 1), 1.0 - tail))
    return (float(low), float(high)) if k.ndim == 0 else (low, high)


def tpr_interval_at_fpr(scores: Array, member: Array, fpr: float, confidence: float = 0.95) -> Estimate:
    """Returns the TPR at an empirical FPR of at most `fpr`, with its Clopper-Pearson interval over the members.

    The interval holds for the TPR at this very threshold, whose true FPR is not exactly `fpr`. It is not an interval
    of the curve's TPR at `fpr`: the non-members that set the threshold are a second source of error, as large as the
    first or larger unless there are many more of them than members. Of 600 draws, members N(1, 1) and as many
    non-members N(0, 1), that TPR lay above the high end / below the low end, nominally 2.5 % each, in: FPR 0.1 %, 1000
    of each: 10 / 47 %; 1 %, 1000: 15 / 27 %; 1 %, 5000: 18 / 23 %.

    Args:
      scores: [n] numbers, larger for a likelier member.
      member: [n] bool.
      fpr: in 0..1.
      confidence: of the interval.

    Returns:
      An Estimate, its n the number of members.

    Raises:
      ValueError: see `roc.scored_pairs`.

    >>> estimate = tpr_interval_at_fpr([3.0, 2.0, 2.0, 1.0], [True, True, False, False], fpr=0.1)  # 1 of 2 members
    >>> [round(figure, 4) for figure in estimate[:3]]  # 1 - sqrt(0.975) and sqrt(0.975)
    [0.5, 0.0126, 0.9874]
    """
    members = int(scored_pairs(scores, member)[1].sum())
    tpr = tpr_at_fpr(scores, member, fpr)
    return Estimate(tpr, *clopper_pearson(round(tpr * members), members, confidence), n=members)


def balanced_accuracy_interval(
    scores: Array, member: Array, threshold: float | Array, confidence: float = 0.95
) -> Estimate:
    """Returns the balanced accuracy at a threshold fixed beforehand, with an interval that is never too narrow.

    TPR and TNR each get a Clopper-Pearson interval of confidence 1 - a/2; by Bonferroni both hold with 1 - a, and so
    does the mean of their ends.

    Args:
      scores: [n] numbers, larger for a likelier member.
      member: [n] bool.
      threshold: a number, or one for each record [n]; not chosen on these records.
      confidence: 1 - a.

    Returns:
      An Estimate, its n the number of records.

    Raises:
      ValueError: see `roc.balanced_accuracy`.

    >>> estimate = balanced_accuracy_interval([3.0, 2.0, 2.0, 1.0], [True, True, False, False], threshold=3.0)
    >>> [round(figure, 4) for figure in estimate[:3]]  # TPR 1 of 2, TNR 2 of 2
    [0.75, 0.059, 0.9969]
    """
    _tail(confidence)
    _, member, called = called_members(scores, member, threshold)
    members, nonmembers = int(member.sum()), int((~member).sum())
    each = 1.0 - (1.0 - confidence) / 2.0
    hits, rejections = int(called[member].sum()), int((~called[~member]).sum())
    tpr_low, tpr_high = clopper_pearson(hits, members, each)
    tnr_low, tnr_high = clopper_pearson(rejections, nonmembers, each)
    value = (hits / members + rejections / nonmembers) / 2.0
    return Estimate(value, (tpr_low + tnr_low) / 2.0, (tpr_high + tnr_high) / 2.0, n=len(member))


def auc_interval(scores: Array, member: Array, confidence: float = 0.95) -> Estimate:
    """Returns the AUC with DeLong's interval over the records.

    var = var_i(share of non-members below member i) / members + var_j(share of members above non-member j) /
    nonmembers, AUC +- z * sqrt(var), cut to 0..1. If all pairs compare alike (an AUC of 0 or 1, or all scores equal),
    that variance is 0 and says nothing. Then at most u of the pairs compare otherwise, the Clopper-Pearson bound of 0
    out of min(members, nonmembers) disjoint, hence independent, pairs: AUC (1 - u) to AUC + u (1 - AUC).

    Args:
      scores: [n] numbers, larger for a likelier member.
      member: [n] bool; at least two records of each kind.
      confidence: of the interval.

    Returns:
      An Estimate, its n the number of records.

    Raises:
      ValueError: see `roc.scored_pairs`; fewer than two members or non-members.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988).

    >>> [round(figure, 3) for figure in auc_interval([1, 1, 1, 1], [True, True, False, False])[:3]]
    [0.5, 0.079, 0.921]
    """
    tail = _tail(confidence)
    scores, member = scored_pairs(scores, member)
    inside, outside = scores[member], scores[~member]
    checks.at_least("number of members", len(inside), 2)
    checks.at_least("number of non-members", len(outside), 2)
    auc = roc_auc(scores, member)
    variance = shares_below(inside, outside).var(ddof=1) / len(inside)
    variance += shares_below(outside, inside).var(ddof=1) / len(outside)
    if variance == 0.0:  # without rounding: the shares are then all 0, all 1/2 or all 1
        otherwise = clopper_pearson(0, min(len(inside), len(outside)), confidence)[1]
        return Estimate(auc, auc * (1.0 - otherwise), auc + otherwise * (1.0 - auc), n=len(scores))
    half = float(special.ndtri(1.0 - tail) * np.sqrt(variance))
    return Estimate(auc, max(auc - half, 0.0), min(auc + half, 1.0), n=len(scores))


def mean_interval(values: Array | Sequence[float], confidence: float = 0.95, unit: str = "") -> Estimate:
    """Returns the mean over seeds or targets, with Student's t interval: mean +- t(n-1) * s / sqrt(n).

    Args:
      values: [n] numbers, one for each seed or target.
      confidence: of the interval.
      unit: of the values.

    Returns:
      An Estimate of kind "measured"; one value alone has no interval.

    Raises:
      ValueError: no value, a wrong shape, or a value that is NaN or infinite.

    >>> mean_interval([1.0, 2.0, 3.0]).value
    2.0
    """
    values = checks.shape("values", np.asarray(values, np.float64), (None,))
    if len(checks.not_empty("values", values)) == 1:
        _tail(confidence)
        return Estimate(float(checks.finite("values", values)[0]), unit=unit, n=1)
    mean, low, high = (float(part) for part in mean_band(values, confidence))
    return Estimate(mean, low, high, unit=unit, n=len(values))


def mean_band(values: Array, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns `mean_interval` at each of many points, as arrays, for example of a curve.

    Args:
      values: [n, ...], one curve for each of n >= 2 seeds or targets.
      confidence: of the pointwise interval.

    Returns:
      (mean, low, high), each [...].

    Raises:
      ValueError: n < 2, or a value that is NaN or infinite.

    >>> mean, low, high = mean_band([[1.0, 0.0], [3.0, 0.0]], confidence=0.5)
    >>> mean.tolist(), low.round(9).tolist(), high.round(9).tolist()  # t(1) at 75 % is 1, and s / sqrt(2) is 1
    ([2.0, 0.0], [1.0, 0.0], [3.0, 0.0])
    """
    tail = _tail(confidence)
    values = checks.finite("values", np.asarray(values, np.float64))
    n = checks.at_least("number of values", len(values), 2)
    mean = values.mean(0)
    half = special.stdtrit(n - 1, 1.0 - tail) * values.std(0, ddof=1) / np.sqrt(n)
    return mean, mean - half, mean + half
