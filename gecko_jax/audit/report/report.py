"""The result of an audit: plain data, a table, JSON, a page, and an assertion for a test suite."""

from __future__ import annotations

import os
import pathlib
import shutil
from dataclasses import dataclass

from gecko_jax import json_values, reports
from gecko_jax.audit.report import gate, page, text
from gecko_jax.audit.report.results import FPR_OF_METRIC, AuditResults

DEFAULT_WIDTH = 100  # characters of a printed table without a terminal


@dataclass(frozen=True, repr=False)
class Report(AuditResults):
    """Every figure of an audit with its interval, and ways to look at them; `print(report)` is its table.

    Its fields are those of `AuditResults`.

    >>> import json
    >>> import tempfile
    >>> from gecko_jax.audit import audit_model
    >>> logits, member = [[3.0, -1.0], [-1.0, 2.0], [0.5, 0.0], [0.0, 0.2]] * 5, [True, True, False, False] * 5
    >>> report = audit_model(logits, [0, 1] * 10, member, ["loss"])  # members have the smaller loss, all of them
    >>> json.loads(report.to_json())["rows"]["loss"]["auc"]["value"]
    1.0
    >>> "loss" in report.table(width=80), report.to_csv().splitlines()[0]
    (True, 'target,attack,metric,value,low,high,kind,unit,n')
    >>> report.html(pathlib.Path(tempfile.mkdtemp()) / "audit.html").name
    'audit.html'
    """

    def __str__(self) -> str:
        return self.table(max(80, shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns))

    def __repr__(self) -> str:
        return f"<Report of {len(self.targets)} targets by {', '.join(self.rows)}>"

    def table(self, width: int | None = None) -> str:
        """Returns the figures as plain text, one row for each attack, with the sentences that belong to them.

        Args:
          width: characters that a line may have, for example 80 or 100; None for one line a row, however long.
        """
        return text.table(self, width)

    def to_json(self) -> str:
        """Returns every field as strict JSON; an Estimate is an object with its six names. Records are not in it."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        fields["most_exposed"] = self.most_exposed and self.most_exposed.without_records()
        return json_values.dumps(fields, indent=1)

    def to_csv(self) -> str:
        """Returns every figure as lines of CSV: target ("all" or its number), attack, metric and the Estimate's parts.

        The attack of a slice is "<attack> on slice: <name>".
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
          pictures: show those records themselves, if they are pictures. They are training data: whoever sees the page
            then sees them.

        Raises:
          OSError: a file that cannot be written; an old one then stays.
        """
        return reports.write_html(path, page.study(self, title, pictures))

    def assert_below(self, upper: bool = False, thresholds_are_enough: bool = False, **bounds: float) -> None:
        """Asserts that no attack reaches a bound; for a test suite.

        Args:
          upper: compare the upper end of the 95 % interval instead of the figure itself: a small sample is then less
            likely to pass by luck. A rate's interval does not include the error of the threshold, which the non-members
            set (`metrics.tpr_interval_at_fpr`).
          thresholds_are_enough: pass a model that was not attacked with shadow models. Such attacks often find several
            times as much as thresholds do.
          **bounds: metric=bound, a fraction in 0..1, for example tpr_at_1pct=0.05, auc=0.6.

        Raises:
          AssertionError: for each attack and metric at or above its bound, with the interval; and for a TPR or PPV at
            an FPR that the non-members are too few to resolve, because it would pass unmeasured.
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
                    f"it needs {round(1 / FPR_OF_METRIC[metric])}"
                )
                continue
            for name, row in self.rows.items():
                estimate = row[metric]
                reached = estimate.high if upper and estimate.high is not None else estimate.value
                if not reached < bound:
                    what = "upper end of the interval" if upper else "figure"
                    failures.append(f"{name}: {metric} {text.cell(estimate)}, whose {what} is not below {bound}")
        if failures:
            raise AssertionError("The audit is not below its bounds:\n  " + "\n  ".join(failures))
