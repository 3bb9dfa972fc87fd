"""An audit's report as the page and the table file that every study has."""

from __future__ import annotations

import csv
import io

import numpy as np

from gecko_jax import reports
from gecko_jax.audit.figures import METRICS
from gecko_jax.types import Estimate

# The best attack is the one that says how much leaks, so here the highest figure is the one to look at.
COLUMNS = (
    reports.Column("baseline", "AUC without the model", digits=3),
    reports.Column("auc", "AUC", digits=3, better="high"),
    reports.Column("attack_accuracy", "Attack accuracy", "%", 2, "high"),
    reports.Column("tpr_at_1pct", "TPR at 1 % FPR", "%", 2, "high"),
    reports.Column("tpr_at_0p1pct", "TPR at 0.1 % FPR", "%", 2, "high"),
)
WITHOUT, WITH = "Without asking the model", "Attacks"


def study(report, title: str = "Membership audit") -> reports.Study:
    """An `audit.Report` as a `reports.Study`: warnings first, then what needs no model, the attacks, their curves."""
    rows = [reports.Row(f"by the {name}", {"baseline": auc}, WITHOUT) for name, auc in report.baselines.items()]
    for name, figures in report.rows.items():
        shown = {"auc": figures["auc"]} | {c.key: reports.percent(figures[c.key]) for c in COLUMNS if c.unit}
        rows.append(reports.Row(_said(name), shown, WITH))
    counts = (np.sum(part, 0).tolist() for part in (report.histogram.members, report.histogram.nonmembers))
    shown = {key for row in rows for key in row.figures}
    return reports.Study(
        title=title,
        summary=_summary(report),
        rows=tuple(rows),
        columns=tuple(column for column in COLUMNS if column.key in shown),
        rocs=tuple(_roc(_said(name), curve) for name, curve in report.curves.items()),
        histograms=(reports.Histogram("Largest probability", report.histogram.edges.tolist(), *counts),),
        record={"members": list(report.members), "nonmembers": list(report.nonmembers), "threshold": report.threshold},
        notes=(
            *(f"{warning[0].upper()}{warning[1:]}." for warning in report.warnings),
            *(report.claim.lines() if report.claim else ()),
        ),
    )


def table_file(report) -> str:
    """Every figure as lines of CSV: target ("all", or its number), attack, metric, value, low, high, kind, n."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["target", "attack", "metric", *Estimate._fields])

    def lines(target, rows):
        for attack, figures in rows.items():
            for metric in METRICS:
                writer.writerow([target, attack, metric, *("" if part is None else part for part in figures[metric])])

    lines("all", report.rows)
    for number, rows in enumerate(report.targets) if len(report.targets) > 1 else ():
        lines(number, rows)
    for name, auc in report.baselines.items():
        writer.writerow(["all", f"without the model: {name}", "auc", *("" if part is None else part for part in auc)])
    lines("all", {f"{report.sliced_by} on slice: {name}": row for name, row in report.slices.items()})
    return file.getvalue()


def _said(name: str) -> str:
    return name.replace("_", " ")


def _summary(report) -> str:
    targets, members = len(report.targets), (min(report.members), max(report.members))
    inside, outside = (100 * report.accuracy[part].value for part in ("members", "nonmembers"))
    what = "One model" if targets == 1 else f"{targets} models, each a target in turn"
    over = "its records" if targets == 1 else "the targets"
    several = f"{members[0]}" if members[0] == members[1] else f"{members[0]} to {members[1]}"
    return (
        f"{what}: {several} members, {min(report.nonmembers)} non-members or more; accuracy {inside:.1f} % on members "
        f"and {outside:.1f} % on the others. 95 % intervals are over {over}. An attack that learns nothing has an AUC "
        "of 0.5 and a TPR equal to its FPR; the smallest FPR that every target can show is "
        f"{100 / min(report.nonmembers):.2g} %."
    )


def _roc(name: str, curve) -> reports.Curve:
    low, high = curve.mean_low, curve.mean_high
    if low is None:
        low, high = curve.tpr_low[0], curve.tpr_high[0]
    return reports.Curve(name, *(part.tolist() for part in (curve.fpr, curve.mean, low, high)))
