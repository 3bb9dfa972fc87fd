"""Empirical lower bounds on epsilon from a membership attack's errors over independent trials.

An (epsilon, delta)-private mechanism keeps every attack to TPR <= e^epsilon FPR + delta and, for the complement, to
TNR <= e^epsilon FNR + delta. Therefore measured rates, minus their error, refute every smaller epsilon. Both directions
read the same two bounds (TNR >= 1 - FPR_high and FNR <= 1 - TPR_low) and hold on the same event; using both needs no
correction. Thresholds do: the best of many is a maximum over noise, and every function here corrects for it.

The trials must be independent: each is one run with a canary of its own. Many canaries of one training run, or many
records of one model, are not; a bound from them assumes that they do not influence each other. `one_run` needs no such
assumption.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import special

from gecko_jax import checks
from gecko_jax.metrics.gaussian_dp import check_claim, gaussian_epsilon
from gecko_jax.metrics.intervals import clopper_pearson
from gecko_jax.metrics.roc import roc_curve, scored_pairs
from gecko_jax.types import Array, Estimate

INTERVALS = 1024  # that a curve is first cut into, to find its best point
SUBINTERVALS = 16  # that one of them is cut into again, if it is not ruled out


class EpsilonBound(NamedTuple):
    """A lower bound on epsilon, and the rates that it comes from.

    Attributes:
      epsilon: the bound as an Estimate, n the records judged. It has no low and high: it is itself the low end.
      threshold: the threshold that gave it; "score >= threshold" says member.
      tpr, fpr: the rates there, among the records judged. tpr.low and fpr.high, corrected for the number of
        thresholds, are what the bound was computed from.
      choice: how the threshold was chosen, in words.
    """

    epsilon: Estimate
    threshold: float
    tpr: Estimate
    fpr: Estimate
    choice: str

    @property
    def value(self) -> float:
        """The bound as a number."""
        return self.epsilon.value


def _evidence(tpr_low: Any, fpr_high: Any, delta: float, assumption: str) -> Any:
    """Returns the epsilon ("dp") or mu ("gaussian") that the two bounds refute anything below; -inf for none."""
    if assumption == "gaussian":
        return special.ndtri(tpr_low) - special.ndtri(fpr_high)  # tpr_low < 1 and fpr_high > 0, so never inf - inf
    with np.errstate(divide="ignore"):
        called = np.log(np.maximum(tpr_low - delta, 0.0)) - np.log(fpr_high)
        passed = np.log(np.maximum(1.0 - fpr_high - delta, 0.0)) - np.log1p(-tpr_low)
    return np.maximum(called, passed)


def _epsilon(evidence: float, delta: float, assumption: str) -> float:
    if evidence <= 0:
        return 0.0
    return gaussian_epsilon(evidence, delta) if assumption == "gaussian" else float(evidence)


def clopper_pearson_epsilon(
    true_positives: int,
    members: int,
    false_positives: int,
    nonmembers: int,
    delta: float = 0.0,
    confidence: float = 0.95,
    assumption: str = "dp",
) -> float:
    """Returns a lower bound on epsilon from counts at one threshold that was fixed beforehand.

    max(0, log((TPR_low - delta) / FPR_high), log((1 - FPR_high - delta) / (1 - TPR_low))) with one-sided
    Clopper-Pearson bounds of alpha/2 each; for "gaussian" Phi^-1(TPR_low) - Phi^-1(FPR_high) is a bound of mu.

    Valid for independent trials only: one canary a run, or see the head of this file.

    Args:
      true_positives: members called members.
      members: their number, at least 1.
      false_positives: non-members called members.
      nonmembers: their number, at least 1.
      delta: of (epsilon, delta)-privacy, in [0, 1).
      confidence: 1 - alpha, in (0, 1).
      assumption: "dp", nothing but (epsilon, delta)-privacy; "gaussian", that the trade-off is that of a Gaussian
        mechanism, which is tighter and needs delta > 0.

    Returns:
      The bound, at least 0.

    Raises:
      ValueError: counts that are not integers or out of range, or an argument outside its bound.

    Source: Jagielski, Ullman and Oprea, "Auditing Differentially Private Machine Learning" (2020); the Gaussian form:
    Nasr et al., "Tight Auditing of Differentially Private Machine Learning" (2023).

    >>> round(clopper_pearson_epsilon(500, 1000, 10, 1000), 3)
    3.242
    """
    check_claim(delta, confidence, assumption)
    tpr_low = clopper_pearson(true_positives, members, confidence)[0]
    fpr_high = clopper_pearson(false_positives, nonmembers, confidence)[1]
    return _epsilon(float(_evidence(tpr_low, fpr_high, delta, assumption)), delta, assumption)


def epsilon_lower_bound(
    scores: Array,
    member: Array,
    delta: float = 0.0,
    confidence: float = 0.95,
    threshold: float | Array | str = "split",
    assumption: str = "dp",
    seed: int = 0,
) -> EpsilonBound:
    """Returns a lower bound on epsilon from an attack's scores over independent trials; see `clopper_pearson_epsilon`.

    Valid for independent trials only: one canary a run, or see the head of this file. It also needs
    thresholds, seed and attack that were fixed before the scores were seen: the best of several bounds is not a bound.

    Args:
      scores: [n] numbers, larger for a likelier member, one for each trial.
      member: [n] bool, whether the canary was in.
      delta: of (epsilon, delta)-privacy, in [0, 1).
      confidence: 1 - alpha, in (0, 1).
      threshold: a number fixed beforehand; numbers [k] fixed beforehand, each judged with alpha / k (Bonferroni), the
        best taken; or "split": the threshold with the best bound on a random half of the members and of the
        non-members, judged on the other half alone.
      assumption: "dp" or "gaussian"; see `clopper_pearson_epsilon`.
      seed: of the split.

    Returns:
      An EpsilonBound; `.value` is the number.

    Raises:
      ValueError: see `roc.scored_pairs`; an argument outside its bound, a threshold that is NaN or none, or fewer
        than two members or non-members to split.

    >>> scores, member = [0.9, 0.8, 0.7, 0.6] * 25 + [0.4, 0.3, 0.2, 0.1] * 25, [True] * 100 + [False] * 100
    >>> round(epsilon_lower_bound(scores, member, threshold=0.5).value, 3)  # log(0.96378 / 0.03622)
    3.281
    """
    check_claim(delta, confidence, assumption)
    scores, member = scored_pairs(scores, member)
    if isinstance(threshold, str):
        checks.one_of("threshold", threshold, ["split"])
        choosing = _half(member, seed)
        fpr, tpr, candidates = roc_curve(scores[choosing], member[choosing])
        inside, outside = int(member[choosing].sum()), int((~member[choosing]).sum())
        hits, alarms = np.rint(tpr * inside), np.rint(fpr * outside)
        best = _best(hits, inside, alarms, outside, delta, confidence, assumption)
        thresholds = candidates[[best]]
        scores, member = scores[~choosing], member[~choosing]
        choice = f"chosen on a random half ({inside} + {outside} records), judged on the other"
    else:
        thresholds = _fixed(threshold)
        k = len(thresholds)
        choice = "fixed beforehand" if k == 1 else f"best of {k} fixed beforehand, each with 1/{k} of the error"
    return _judged(scores, member, thresholds, delta, confidence, assumption, choice)


def _judged(
    scores: np.ndarray,
    member: np.ndarray,
    thresholds: np.ndarray,
    delta: float,
    confidence: float,
    assumption: str,
    choice: str,
) -> EpsilonBound:
    """Returns the best bound of thresholds [k] that were fixed without these records, each with a k-th of the error."""
    each = 1.0 - (1.0 - confidence) / len(thresholds)
    ranked = [np.sort(scores[kind]) for kind in (member, ~member)]
    # From the largest threshold on, both counts rise; equal thresholds keep their order.
    falling = np.argsort(-thresholds, kind="stable")
    counts = [len(one) - np.searchsorted(one, thresholds[falling], "left") for one in ranked]
    members, nonmembers = len(ranked[0]), len(ranked[1])
    best = _best(counts[0], members, counts[1], nonmembers, delta, each, assumption, falling)
    tpr, fpr = (
        Estimate(int(count[best]) / total, *clopper_pearson(int(count[best]), total, each), n=total)
        for count, total in zip(counts, (members, nonmembers), strict=True)
    )
    evidence = float(_evidence(tpr.low, fpr.high, delta, assumption))
    epsilon = Estimate(_epsilon(evidence, delta, assumption), n=len(member))
    return EpsilonBound(epsilon, float(thresholds[falling[best]]), tpr, fpr, choice)


def _best(
    hits: np.ndarray,
    members: int,
    alarms: np.ndarray,
    nonmembers: int,
    delta: float,
    confidence: float,
    assumption: str,
    rank: np.ndarray | None = None,
) -> int:
    """Returns the index of the point with the largest evidence; of equals, the one of the lowest rank.

    The rank is the index if None.

    Beta quantiles take a microsecond each, and a curve may have millions of points. Both counts rise along it, and
    evidence rises with hits and falls with alarms: no point of an interval of the curve is better than its last
    hits with its first alarms. One evaluation therefore rules out most intervals, which are never looked at in detail.
    """

    def evidence(called: np.ndarray, passed: np.ndarray) -> np.ndarray:
        tpr_low = clopper_pearson(called, members, confidence)[0]
        fpr_high = clopper_pearson(passed, nonmembers, confidence)[1]
        return _evidence(tpr_low, fpr_high, delta, assumption)

    width = max(1, len(hits) // INTERVALS)
    starts, best = np.arange(0, len(hits), width), -np.inf
    while width > 1:
        ends = np.minimum(starts + width, len(hits)) - 1
        best = max(best, float(evidence(hits[ends], alarms[ends]).max()))
        limit = evidence(hits[ends], alarms[starts])
        starts = starts[limit >= best - 1e-9 * abs(best)] if np.isfinite(best) else starts
        step = max(1, width // SUBINTERVALS)
        starts = (starts[:, None] + np.arange(0, width, step)[None]).ravel()
        starts, width = starts[starts < len(hits)], step
    values = evidence(hits[starts], alarms[starts])
    ties = starts[values == values.max()]
    return int(ties[0] if rank is None else ties[np.argmin(rank[ties])])


def _fixed(threshold: float | Array) -> np.ndarray:
    thresholds = np.atleast_1d(np.asarray(threshold, np.float64))
    checks.not_empty("threshold", checks.shape("threshold", thresholds, (None,)))
    if np.isnan(thresholds).any():
        raise ValueError("threshold holds NaN; name numbers fixed beforehand, or 'split'.")
    return thresholds


def _half(member: np.ndarray, seed: int) -> np.ndarray:
    """Returns bool [n]: half of the members and half of the non-members, drawn independently of the scores."""
    from gecko_jax import keys  # it loads JAX, which most metrics do not need

    half = np.zeros(len(member), bool)
    for kind, rows in (("members", np.flatnonzero(member)), ("non-members", np.flatnonzero(~member))):
        checks.at_least(f"number of {kind} to split", len(rows), 2)
        half[keys.generator(seed, "epsilon split", kind).permutation(rows)[: len(rows) // 2]] = True
    return half
