"""Figures of one target's scores, and their means over several targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gecko_jax import metrics
from gecko_jax.types import Estimate

FPRS = {"tpr_at_1pct": 0.01, "tpr_at_0p1pct": 0.001}
PRIORS = {"ppv_at_1pct_prior": 0.01, "ppv_at_10pct_prior": 0.1}  # share of members in the world
PPV_FPR = 0.01  # at which those called members are counted
METRICS = ("auc", "attack_accuracy", "advantage", *FPRS, *PRIORS, "smallest_fpr")
GRID = np.logspace(-4, 0, 101)
BINS = 20
CLIPPED_SHARE = 0.01  # of the scores, which their histogram may cut off on either side
MAX_SCORE = float(np.finfo(np.float64).max) / 4  # the distance between two such is still a number


class Curve(NamedTuple):
    """ROC curves of m targets on a common grid of g false-positive rates, as steps: nothing is interpolated.

    Attributes:
      fpr: [g] the grid, 1e-4..1, even in the logarithm.
      tpr: [m, g] largest TPR at an empirical FPR <= fpr.
      tpr_low, tpr_high: [m, g] pointwise 95 % Clopper-Pearson over the target's members.
      mean: [g] over targets.
      mean_low, mean_high: [g] 95 % Student t over targets, cut to 0..1; None for one target.
    """

    fpr: np.ndarray
    tpr: np.ndarray
    tpr_low: np.ndarray
    tpr_high: np.ndarray
    mean: np.ndarray
    mean_low: np.ndarray | None
    mean_high: np.ndarray | None


class Histogram(NamedTuple):
    """One number of each record (the largest probability, an attack's score) of m targets, counted in b bins.

    Attributes:
      edges: [b + 1].
      members, nonmembers: [m, b] counts.
      clipped: how many values lie beyond the edges; they are counted in the first and in the last bin.
    """

    edges: np.ndarray
    members: np.ndarray
    nonmembers: np.ndarray
    clipped: int = 0


def target_figures(scores: np.ndarray, member: np.ndarray, threshold: np.ndarray) -> dict[str, Estimate]:
    """Returns METRICS of one attack on one target, with 95 % intervals over its records.

    Args:
      scores: [n].
      member: [n] bool.
      threshold: [n], not chosen on these records.
    """
    accuracy = metrics.balanced_accuracy_interval(scores, member, threshold)
    row = {
        "auc": metrics.auc_interval(scores, member),
        "attack_accuracy": accuracy,
        "advantage": accuracy.map(lambda part: 2 * part - 1),
    }
    row |= {name: metrics.tpr_interval_at_fpr(scores, member, fpr) for name, fpr in FPRS.items()}
    for name, prior in PRIORS.items():
        row[name] = metrics.predictive_value_interval_at_fpr(scores, member, PPV_FPR, prior)
    nonmembers = int((~member).sum())
    return row | {"smallest_fpr": Estimate(metrics.smallest_fpr(member), kind="counted", n=nonmembers)}


def over_targets(rows: Sequence[Mapping[str, Estimate]]) -> dict[str, Estimate]:
    """Returns the mean of each figure over m >= 2 targets with Student's t interval, cut to the figure's range.

    The smallest FPR is the largest of the targets' ones: every one of them can resolve it.
    """
    result = {}
    for name in rows[0]:
        values = [row[name].value for row in rows]
        if name == "smallest_fpr":
            result[name] = Estimate(max(values), kind="counted", n=len(rows))
        else:
            least = -1.0 if name == "advantage" else 0.0
            result[name] = metrics.mean_interval(values).map(lambda part, least=least: min(max(part, least), 1.0))
    return result


def roc_curves(scores: Sequence[np.ndarray], member: np.ndarray) -> Curve:
    """Returns the ROC curves of m targets: scores m x [n], member [m, n]."""
    steps, low, high = [], [], []
    for one, truth in zip(scores, member, strict=True):
        curve_fpr, curve_tpr, _ = metrics.roc_curve(one, truth)
        steps.append(curve_tpr[np.searchsorted(curve_fpr, GRID, "right") - 1])
        members = int(truth.sum())
        bounds = metrics.clopper_pearson(np.rint(steps[-1] * members), members)
        low.append(bounds[0])
        high.append(bounds[1])
    tpr = np.array(steps)
    if len(tpr) == 1:
        return Curve(GRID, tpr, np.array(low), np.array(high), tpr[0], None, None)
    mean, mean_low, mean_high = (np.clip(part, 0.0, 1.0) for part in metrics.mean_band(tpr))
    return Curve(GRID, tpr, np.array(low), np.array(high), mean, mean_low, mean_high)


def score_histogram(scores: Sequence[np.ndarray], member: np.ndarray) -> Histogram:
    """Returns counts of one attack's scores of members and of non-members, in bins of equal width.

    The bins are the same for all targets. They span the finite scores except for the lowest and the highest 1 %; an
    infinite or far score is counted in the outermost bin. If these scores are all equal, the bins span all finite ones,
    or 1/2 on either side of it.

    Args:
      scores: m x [n]; infinite ones allowed.
      member: [m, n] bool.
    """
    values = np.asarray(scores, np.float64)
    finite = np.clip(values[np.isfinite(values)], -MAX_SCORE, MAX_SCORE)
    low, high = np.quantile(finite, [CLIPPED_SHARE, 1 - CLIPPED_SHARE]) if len(finite) else (0.0, 1.0)
    if low == high:
        low, high = finite.min(), finite.max()
    # Rounding may swallow a width: 1e30 and 1e30 + 1/2 are one number.
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        half = max(0.5, 1e-3 * abs(low))
        low, high = low - half, high + half
    edges = np.linspace(low, high, BINS + 1)
    clipped = int(((values < low) | (values > high)).sum())
    return counts_in_bins(edges, np.clip(values, low, high), member)._replace(clipped=clipped)


def counts_in_bins(edges: np.ndarray, values: np.ndarray, member: np.ndarray) -> Histogram:
    """Returns counts of values [m, n] between edges [b + 1], those of members apart from those of non-members."""
    pairs = list(zip(values, member, strict=True))
    members = np.array([np.histogram(row[truth], edges)[0] for row, truth in pairs])
    return Histogram(edges, members, np.array([np.histogram(row[~truth], edges)[0] for row, truth in pairs]))


def model_accuracies(correct: np.ndarray, member: np.ndarray) -> dict[str, Estimate]:
    """Returns the accuracy of m models on members and on non-members; correct [m, n] of 0 and 1, member [m, n]."""
    result = {}
    for name, mask in (("members", member), ("nonmembers", ~member)):
        if len(correct) == 1:
            hits, trials = int(correct[0][mask[0]].sum()), int(mask.sum())
            result[name] = Estimate(hits / trials, *metrics.clopper_pearson(hits, trials), n=trials)
        else:
            mean = metrics.mean_interval([row[rows].mean() for row, rows in zip(correct, mask, strict=True)])
            result[name] = mean.map(lambda part: min(max(part, 0.0), 1.0))
    return result


def resolution_warnings(member: np.ndarray) -> list[str]:
    """Returns a warning for each FPR that the non-members of some target, member [m, n], are too few for."""
    fewest = int((~member).sum(1).min())
    return [
        f"TPR at {fpr:.1%} FPR cannot be resolved with {fewest} non-members (it needs {round(1 / fpr)}): "
        "the figure is the TPR without a single false positive."
        for fpr in FPRS.values()
        if fewest * fpr < 1 - 1e-9
    ]
