"""Paired differences of two audits of the same targets and members under two ways of training."""

from __future__ import annotations

from gecko_jax import checks, metrics
from gecko_jax.audit.report.figures import METRICS
from gecko_jax.audit.report.results import AuditResults
from gecko_jax.types import Estimate


def differences(ours: AuditResults, theirs: AuditResults) -> dict[str, dict[str, Estimate]]:
    """Returns the figures of one audit minus those of another, for example of 1-bit models minus their float twins.

    Args:
      ours, theirs: reports of several targets, target i with the same members in both.

    Returns:
      attack -> metric -> mean difference over targets, with the paired Student t interval; of the attacks that both
      have. Two intervals that overlap say little about a difference: a target's figures in both are correlated.

    Raises:
      ValueError: one target alone, other targets, or no attack in common.

    >>> import numpy as np
    >>> from gecko_jax.audit import from_signals
    >>> losses, member = np.random.default_rng(0).random((3, 40)), np.random.default_rng(1).random((3, 40)) < 0.5
    >>> plain, private = (from_signals({"loss": loss}, member, ["loss"]) for loss in (losses + ~member, losses))
    >>> differences(private, plain)["loss"]["auc"].value < -0.3
    True
    """
    for name in ("members", "nonmembers"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        if mine != other:
            counts = f"{checks.listed(mine)} and {checks.listed(other)}"
            raise ValueError(f"the audits have {name} {counts}; only audits of the same targets can be compared.")
    if ours.design_hash != theirs.design_hash:
        raise ValueError(
            "the audits have different members or labels; only audits of the same targets and records can be compared."
        )
    if len(ours.targets) < 2:
        raise ValueError(
            "one target has no spread to judge a difference by; audit several models (audit_models), or compare two "
            "models' scores on the same records: metrics.paired_auc_difference."
        )
    shared = [attack for attack in ours.rows if attack in theirs.rows]
    if not shared:
        names = f"{checks.listed(ours.rows)}, and {checks.listed(theirs.rows)}"
        raise ValueError(f"the audits have no attack in common: {names}.")

    def less(attack: str, metric: str) -> Estimate:
        values, others = ([target[attack][metric].value for target in one.targets] for one in (ours, theirs))
        return metrics.paired_difference(values, others)

    compared = [metric for metric in METRICS if metric != "smallest_fpr"]
    return {attack: {metric: less(attack, metric) for metric in compared} for attack in shared}
