"""The headline: an audit's result as one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gecko_jax import metrics
from gecko_jax.audit.report.figures import FPRS
from gecko_jax.types import Estimate

CONFIDENCE = 0.95


def headline(targets: Sequence[Mapping[str, Mapping[str, Estimate]]], nonmembers: Sequence[int] | np.ndarray) -> str:
    """Returns a sentence: "Of 100 training records 11 [8.6, 13.9] are picked out at 1 false alarm in 100 others (...)".

    The attack is the one with the largest TPR at 1 % FPR, in the mean over the targets. It is chosen by the figures
    that it is judged by, which flatters it. The interval allows for that: it has the confidence 1 - .05 / attacks, so
    that all attacks' intervals hold together (Bonferroni). For targets with fewer than 100 non-members it is the
    rate without a single false alarm, because they cannot show more.

    Args:
      targets: each target's figures, attack -> metric -> Estimate, as in `Report.targets`.
      nonmembers: how many of each target.
    """
    rates = {name: [target[name]["tpr_at_1pct"].value for target in targets] for name in targets[0]}
    strongest = max(rates, key=lambda name: np.mean(rates[name]))
    values = rates[strongest]
    level = 1 - (1 - CONFIDENCE) / len(rates)
    if len(values) == 1:
        members = targets[0][strongest]["tpr_at_1pct"].n or 0
        ends = metrics.clopper_pearson(round(values[0] * members), members, level)
    else:
        ends = tuple(np.clip(part, 0.0, 1.0) for part in metrics.mean_band(np.array(values), level)[1:])
    value, low, high = (_of_100(float(np.mean(part))) for part in (values, *ends))
    fewest = min(nonmembers)
    if fewest * FPRS["tpr_at_1pct"] >= 1 - 1e-9:
        where = "at 1 false alarm in 100 others (guessing picks out 1)"
    else:
        where = f"without a false alarm among {fewest} others (too few to look at 1 in 100)"
    several = f", the strongest of {len(rates)} attacks" if len(rates) > 1 else ""
    over = "" if len(values) == 1 else f", in the mean over {len(values)} models"
    return (
        f"Of 100 training records {value} [{low}, {high}] are picked out {where}, by {strongest.replace('_', ' ')}"
        f"{several}{over}."
    )


def _of_100(share: float) -> str:
    """Returns a share as a count of 100: "11", "8.6", "0.4"."""
    return f"{100 * float(share):.1f}".removesuffix(".0")
