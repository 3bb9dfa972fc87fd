"""Paired differences: two models on the same records or of the same seeds, so that their common variation cancels.

Two intervals that overlap say little about the difference: scores of a float model and of its one-bit twin on the same
records are correlated, and so are their figures for the same members and seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from gecko_jax import checks
from gecko_jax.metrics.intervals import clopper_pearson, mean_interval
from gecko_jax.metrics.roc import scored_pairs, shares_below
from gecko_jax.types import Array, Estimate


def paired_auc_difference(scores_a: Array, scores_b: Array, member: Array, confidence: float = 0.95) -> Estimate:
    """Returns the AUC of a minus the AUC of b on the same records, with DeLong's interval.

    With d_i the difference of the shares of non-members below member i, and d_j that of the shares of members above
    non-member j: var = var_i(d_i) / members + var_j(d_j) / nonmembers, which holds the covariance of the two AUCs.
    If all d are equal (both rankings the same, or both perfect), that variance is 0 and says nothing. Then at most u of
    the pairs differ otherwise: the Clopper-Pearson bound of 0 out of min(members, nonmembers) disjoint pairs.

    Args:
      scores_a: [n] numbers, larger for a likelier member.
      scores_b: [n] likewise, of the same records in the same order; the two may be on different scales.
      member: [n] bool, the same for both; at least two records of each kind.
      confidence: of the interval.

    Returns:
      An Estimate in -1..1, its n the number of records.

    Raises:
      ValueError: see `roc.scored_pairs`; fewer than two members or non-members.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988).

    >>> paired_auc_difference([3.0, 2.0, 2.0, 1.0], [3.0, 1.0, 2.0, 2.0], [True, True, False, False]).value
    0.375
    """
    scores_a, member = scored_pairs(scores_a, member)
    scores_b, _ = scored_pairs(scores_b, member)
    checks.at_least("number of members", int(member.sum()), 2)
    checks.at_least("number of non-members", int((~member).sum()), 2)
    inside = shares_below(scores_a[member], scores_a[~member]) - shares_below(scores_b[member], scores_b[~member])
    # Of the members, the share above is 1 - the share below: the sign does not matter to a variance.
    outside = shares_below(scores_a[~member], scores_a[member]) - shares_below(scores_b[~member], scores_b[member])
    value = float(inside.mean())
    variance = inside.var(ddof=1) / len(inside) + outside.var(ddof=1) / len(outside)
    differing = clopper_pearson(0, min(len(inside), len(outside)), confidence)[1]
    if variance < 1e-24:  # a rounding of 0
        return Estimate(value, value - differing * (1 + value), value + differing * (1 - value), n=len(member))
    half = float(special.ndtri((1.0 + confidence) / 2.0) * np.sqrt(variance))
    return Estimate(value, max(value - half, -1.0), min(value + half, 1.0), n=len(member))


def paired_difference(
    values_a: Array | Sequence[float], values_b: Array | Sequence[float], confidence: float = 0.95, unit: str = ""
) -> Estimate:
    """Returns the mean of a_i - b_i over m pairs, with Student's t interval of the differences.

    Args:
      values_a: [m] figures of one kind of model, one for each target or seed.
      values_b: [m] of the other, target i with the same members and seed as target i of a.
      confidence: of the interval.
      unit: of the values.

    Returns:
      An Estimate, its n the number of pairs; one pair alone has no interval.

    Raises:
      ValueError: no pair, shapes that differ, or a value that is NaN or infinite.

    >>> paired_difference([3.0, 4.0, 6.0], [1.0, 2.0, 4.0])[:3]
    (2.0, 2.0, 2.0)
    """
    values_a, values_b = np.asarray(values_a, np.float64), np.asarray(values_b, np.float64)
    checks.finite("values_a", checks.shape("values_a", values_a, (None,)))
    checks.finite("values_b", checks.shape("values_b", values_b, values_a.shape))
    return mean_interval(checks.not_empty("values_a", values_a) - values_b, confidence, unit)
