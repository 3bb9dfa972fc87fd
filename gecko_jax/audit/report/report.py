"""The result of an audit: plain data, a table, JSON, and an assertion for a test suite."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gecko_jax import json_values, reports
from gecko_jax.audit.report import gate, page
from gecko_jax.audit.report.figures import FPRS, PPV_FPR, PRIORS, Curve, Histogram
from gecko_jax.audit.report.most_exposed import Exposed
from gecko_jax.audit.report.privacy_claim import Claim
from gecko_jax.audit.report.slices import resolved, worst_first
from gecko_jax.audit.scoring.selection import because
from gecko_jax.text_tables import aligned
from gecko_jax.types import Estimate

_TITLES = {
    "auc": "AUC",
    "attack_accuracy": "attack accuracy",
    "advantage": "advantage",
    "tpr_at_1pct": "TPR @ 1% FPR",
    "tpr_at_0p1pct": "TPR @ 0.1% FPR",
}
NEEDED = {**FPRS, **dict.fromkeys(PRIORS, PPV_FPR)}  # metric -> the false-positive rate it is taken at
SLICES = 10  # lines of the table: the worst; the page and the table file have all


@dataclass(frozen=True)
class Report:
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
      histogram: largest probabilities of members and non-members.
      accuracy: the models' own accuracy on "members" and on "nonmembers".
      members, nonmembers: how many of each, for each target.
      threshold: how the threshold of the attack accuracy was chosen.
      warnings: what a reader must know before trusting a figure.
      baselines: AUCs of those that never ask the model: "records" (a classifier of them) and "reference loss" (other
        models' mean loss on a record). 1/2 where members and non-members are of one distribution.
      notes: what the figures were made by, where a reader would ask: which attack was chosen of several.
      claim: the accounted epsilon beside the one that an attack shows, or None where none was claimed.
      slices: slice (a class, a group) -> metric -> Estimate, of the attack `sliced_by` on its records alone.
      sliced_by: that attack, named beforehand (`claim.judge`).
      score_histograms: attack -> its scores of members and non-members.
      exposed: the members that the judging attack is surest of, or None.
      drawn: a name for labels and memberships: audits of the same targets have the same.
      headline: the result as one sentence, by the strongest attack, its interval allowing for that choice.
      tried: attack -> what it needs beside outputs and labels ("shadows", "gradients", ...), () for a threshold.
      not_run: listed attack -> why it did not run.
      ceilings: metric -> the most that the claimed epsilon allows; {} without a claim.
      provenance: date, versions, key and number of shadow models, digests of the records and of the outputs.
    """

    rows: Mapping[str, Mapping[str, Estimate]]
    targets: tuple[Mapping[str, Mapping[str, Estimate]], ...]
    curves: Mapping[str, Curve]
    histogram: Histogram
    accuracy: Mapping[str, Estimate]
    members: tuple[int, ...]
    nonmembers: tuple[int, ...]
    threshold: str
    warnings: tuple[str, ...] = ()
    baselines: Mapping[str, Estimate] = dataclasses.field(default_factory=dict)
    claim: Claim | None = None
    notes: tuple[str, ...] = ()
    slices: Mapping[str, Mapping[str, Estimate]] = dataclasses.field(default_factory=dict)
    sliced_by: str = ""
    score_histograms: Mapping[str, Histogram] = dataclasses.field(default_factory=dict)
    exposed: Exposed | None = None
    drawn: str = ""
    headline: str = ""
    tried: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    not_run: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ceilings: Mapping[str, float] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def resolved(self, metric: str) -> bool:
        """Whether every target has the non-members that `metric` needs."""
        return metric not in NEEDED or min(self.nonmembers) * NEEDED[metric] >= 1 - 1e-9

    def table(self) -> str:
        """A plain-text table: value [95 % interval], one row for each attack; * marks what cannot be resolved.

        Warnings, what is found without the model, and the headline come first.
        """
        head = [f"Warning: {warning}." for warning in self.warnings]
        head += [f"Without the model, by the {name}: AUC {_cell(auc)}." for name, auc in self.baselines.items()]
        head += self.claim.lines() if self.claim else []
        head += [self.headline] if self.headline else []
        lines = [["attack", *_TITLES.values()]]
        for name, row in self.rows.items():
            cells = [_cell(row[metric]) + ("" if self.resolved(metric) else "*") for metric in _TITLES]
            lines.append([name, *cells])
        if self.claim:
            ceilings = (f"{self.ceilings[metric]:.4f}" for metric in _TITLES)
            lines.append([f"ceiling, epsilon {float(self.claim.accounted):.4g}", *ceilings])
        text = aligned(lines)
        over = "records" if len(self.targets) == 1 else f"{len(self.targets)} targets"
        text += [
            "",
            f"95 % intervals over {over}; members {_range(self.members)}, non-members {_range(self.nonmembers)}.",
            f"Model accuracy: members {_cell(self.accuracy['members'])}, "
            f"non-members {_cell(self.accuracy['nonmembers'])}.",
            f"Threshold of the attack accuracy: {self.threshold}.",
            *(f"{note[0].upper()}{note[1:]}." for note in self.notes),
            *because(self.not_run),
        ]
        return "\n".join([*head, *([""] if head else []), *text, *self._slice_lines()])

    def _slice_lines(self) -> list[str]:
        """The worst slices, and how many more there are."""
        if not self.slices:
            return []
        metrics = ("auc", "tpr_at_1pct")
        lines = [[f"slice, by {self.sliced_by}", *(_TITLES[metric] for metric in metrics)]]
        for name in (worst := worst_first(self.slices))[:SLICES]:
            row = self.slices[name]
            lines.append([name, *(_cell(row[metric]) + ("" if resolved(row, metric) else "*") for metric in metrics)])
        said = [f"The worst {SLICES} by AUC; {len(worst) - SLICES} more are not shown."] if len(worst) > SLICES else []
        if any(cell.endswith("*") for line in lines for cell in line):
            said.append("* the slice's non-members are too few for that FPR: the TPR without a single false positive.")
        return ["", *aligned(lines), *said]

    def to_json(self) -> str:
        """Every field as strict JSON; an Estimate is an object with its six names. Records are not in it."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        fields["exposed"] = self.exposed and self.exposed.without_records()
        return json_values.dumps(fields, indent=1)

    def to_csv(self) -> str:
        """Every figure as lines of CSV: target ("all" or its number), attack, metric and the Estimate's six parts.

        A slice's stand under "<attack> on slice: <name>".
        """
        return page.table_file(self)

    def html(
        self, path: str | os.PathLike[str], title: str = "Membership audit", pictures: bool = False
    ) -> pathlib.Path:
        """Writes one self-contained page: warnings, baselines, the table, ROC curves, slices, histograms, provenance.

        It lists the most exposed records by their ids and scores.

        Args:
          path: of the page.
          title: its heading.
          pictures: show those records themselves, if they are pictures. They are training data: whoever is shown the
            page is then shown them.

        Raises:
          OSError: a file that cannot be written; an old one is unchanged then.
        """
        return reports.write_html(path, page.study(self, title, pictures))

    def assert_below(self, upper: bool = False, thresholds_are_enough: bool = False, **bounds: float) -> None:
        """Asserts that no attack reaches a bound; for a test suite.

        Args:
          upper: compare the upper end of the 95 % interval in place of the figure itself, so that a small sample's luck
            is less likely to pass. A rate's interval is at the threshold that the non-members gave, whose own error it
            does not hold (`metrics.tpr_interval_at_fpr`).
          thresholds_are_enough: pass a model that no attack with shadow models was tried on. Such attacks often find
            several times as much as thresholds do.
          **bounds: metric=bound, a fraction in 0..1, for example tpr_at_1pct=0.05, auc=0.6.

        Raises:
          AssertionError: for each attack and metric at or above its bound, with the interval; and for a TPR or PPV at
            an FPR that the non-members are too few to resolve, for it would pass unmeasured.
          ValueError: no bound, an unknown metric, a bound outside 0..1, or threshold attacks alone without
            `thresholds_are_enough`: all before anything is compared.

        Example:
          >>> import numpy as np
          >>> rng = np.random.default_rng(0)
          >>> logits, y, member = rng.normal(size=(4, 400, 3)), rng.integers(0, 3, 400), rng.random((4, 400)) < 0.5
          >>> from gecko_jax import audit
          >>> audit.audit_models(logits, y, member).assert_below(auc=0.6, tpr_at_1pct=0.05)
        """
        gate.check_upper(upper)
        gate.check_bounds(bounds)
        gate.check_tried(self.tried, thresholds_are_enough)
        failures = []
        for metric, bound in bounds.items():
            if not self.resolved(metric):
                failures.append(
                    f"{metric} cannot be resolved with {min(self.nonmembers)} non-members; "
                    f"it needs {round(1 / NEEDED[metric])}"
                )
                continue
            for name, row in self.rows.items():
                estimate = row[metric]
                reached = estimate.high if upper and estimate.high is not None else estimate.value
                if not reached < bound:
                    what = "upper end of the interval" if upper else "figure"
                    failures.append(f"{name}: {metric} {_cell(estimate)}, whose {what} is not below {bound}")
        if failures:
            raise AssertionError("The audit is not below its bounds:\n  " + "\n  ".join(failures))


def _cell(estimate: Estimate) -> str:
    if estimate.low is None:
        return f"{estimate.value:.4f}"
    return f"{estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"


def _range(counts: tuple[int, ...]) -> str:
    return str(counts[0]) if min(counts) == max(counts) else f"{min(counts)}..{max(counts)}"
