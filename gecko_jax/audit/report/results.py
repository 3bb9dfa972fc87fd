"""The results of an audit as plain data, from which tables and pages are made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gecko_jax.audit.report.figures import FPRS, PPV_FPR, PRIORS, Curve, Histogram
from gecko_jax.audit.report.most_exposed import MostExposed
from gecko_jax.audit.report.privacy_claim import ClaimCheck
from gecko_jax.types import Estimate

FPR_OF_METRIC = {**FPRS, **dict.fromkeys(PRIORS, PPV_FPR)}  # the false-positive rate that a metric is taken at


@dataclass(frozen=True)
class AuditResults:
    """Every figure of an audit with its interval.

    Attributes:
      rows: attack -> metric -> Estimate. Of one target: its figures, with intervals over records. Of m targets: means
        over targets, with Student t intervals, n = m. Metrics: auc, attack_accuracy (balanced, at a threshold that was
        not chosen on these records), advantage, tpr_at_1pct, tpr_at_0p1pct, ppv_at_1pct_prior and ppv_at_10pct_prior
        (of those called members at 1 % FPR, the share that are, where 1 or 10 % of all are), smallest_fpr (1 /
        non-members).
      targets: for each of the m targets the same with its own intervals over records: DeLong for auc, Clopper-Pearson
        for the rates.
      curves: attack -> ROC curves on a common grid.
      confidence_histogram: largest probabilities of members and non-members; None without class outputs.
      performance: the models' own metric -> "members" and "nonmembers" -> Estimate: the accuracy if there are class
        outputs, else the mean of a loss; {} if neither was read.
      loss_tail: "tnr_at_1pct_fnr", "tnr_at_0p1pct_fnr" -> share of non-members whose loss lies above that of all but
        1 or 0.1 % of the members (`metrics.loss_tail`), an estimate without shadow models; {} if no loss was read.
      members, nonmembers: the number of each, one entry a target.
      threshold: how the threshold of the attack accuracy was chosen.
      warnings: sentences that a reader must know before trusting a figure.
      baselines: AUCs without the model: "reference model ..." (a named one's loss), "records" (a classifier of them)
        and "reference loss" (other models' mean loss on a record). 1/2 if members and non-members are of one
        distribution.
      notes: sentences on how the figures came about: which attack was chosen of several, which was left out.
      claim: the claimed epsilon beside the one that an attack shows; None without a claim.
      slices: slice (a class, a group) -> metric -> Estimate, of the attack `sliced_by` on its records alone.
      sliced_by: that attack, fixed beforehand (`privacy_claim.claim_attack`).
      score_histograms: attack -> its scores of members and non-members.
      most_exposed: the members that this attack is surest of, or None.
      design_hash: of labels and memberships: audits of the same targets have the same.
      headline: the result as one sentence, by the strongest attack; its interval allows for that choice.
      tried: attack -> what it needs beside outputs and labels ("shadows", "gradients", ...), () for a threshold.
      not_run: listed attack -> why it did not run.
      ceilings: metric -> the largest figure that the claimed epsilon allows; {} without a claim.
      provenance: date, versions, key and number of shadow models, digests of the records and of the outputs.
    """

    rows: Mapping[str, Mapping[str, Estimate]]
    targets: tuple[Mapping[str, Mapping[str, Estimate]], ...]
    curves: Mapping[str, Curve]
    confidence_histogram: Histogram | None
    performance: Mapping[str, Mapping[str, Estimate]]
    members: tuple[int, ...]
    nonmembers: tuple[int, ...]
    threshold: str
    warnings: tuple[str, ...] = ()
    baselines: Mapping[str, Estimate] = dataclasses.field(default_factory=dict)
    claim: ClaimCheck | None = None
    notes: tuple[str, ...] = ()
    slices: Mapping[str, Mapping[str, Estimate]] = dataclasses.field(default_factory=dict)
    sliced_by: str = ""
    score_histograms: Mapping[str, Histogram] = dataclasses.field(default_factory=dict)
    most_exposed: MostExposed | None = None
    design_hash: str = ""
    headline: str = ""
    tried: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    not_run: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ceilings: Mapping[str, float] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    loss_tail: Mapping[str, Estimate] = dataclasses.field(default_factory=dict)

    def resolved(self, metric: str) -> bool:
        """Returns whether every target has the non-members that `metric` needs."""
        return metric not in FPR_OF_METRIC or min(self.nonmembers) * FPR_OF_METRIC[metric] >= 1 - 1e-9
