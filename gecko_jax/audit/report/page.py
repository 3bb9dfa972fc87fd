"""An audit's report as a study's page and table file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from gecko_jax import reports
from gecko_jax.audit.report import loss_tails
from gecko_jax.audit.report.ceilings import ceiling_curve
from gecko_jax.audit.report.exhibits import roc_curves, signal_histograms
from gecko_jax.audit.report.figures import FPRS, METRICS
from gecko_jax.audit.report.most_exposed import MostExposed
from gecko_jax.audit.report.privacy_claim import PREFERRED
from gecko_jax.audit.report.results import AuditResults
from gecko_jax.audit.report.slices import resolved, worst_first
from gecko_jax.audit.scoring.selection import reasons_not_run
from gecko_jax.types import Estimate

# Of an attack no end is "better": the largest figure says how much leaks. The alarm is what guessing gives.
COLUMNS = (
    reports.Column("baseline", "AUC without the model", digits=3),
    reports.Column("auc", "AUC", digits=3, alarm=0.5),
    reports.Column("attack_accuracy", "Attack accuracy", "%", 2, alarm=50.0),
    reports.Column("tpr_at_1pct", "TPR at 1 % FPR", "%", 2, alarm=1.0),
    reports.Column("tpr_at_0p1pct", "TPR at 0.1 % FPR", "%", 2, alarm=0.1),
)
WITHOUT, WITH, CEILING = "Without asking the model", "Attacks", "What the claimed guarantee allows"
MAX_SCORES = 3  # attacks whose scores are drawn: the strongest by reputation


def study(report: AuditResults, title: str = "Membership audit", pictures: bool = False) -> reports.Study:
    """Returns an audit's results as a `reports.Study`.

    The headline and warnings first, then what needs no model, the attacks, their curves; slices, scores, the most
    exposed records (themselves if `pictures`).
    """
    rows = [reports.Row(f"by the {name}", {"baseline": auc}, WITHOUT) for name, auc in report.baselines.items()]
    for name, figures in report.rows.items():
        shown = {"auc": figures["auc"]} | {c.key: reports.percent(figures[c.key]) for c in COLUMNS if c.unit}
        unresolved = tuple(key for key in FPRS if not report.resolved(key))
        rows.append(reports.Row(label(name), shown, WITH, unresolved=unresolved))
    if report.claim:
        rows.append(reports.Row(_ceiling(report), _ceilings(report), CEILING))
    shown = {key for row in rows for key in row.figures}
    confidence = report.confidence_histogram
    histograms = {"Largest probability": confidence} if confidence else {}
    strongest = by_reputation(report.score_histograms)
    histograms |= {f"{label(name)} score": report.score_histograms[name] for name in strongest}
    ceiling = reports.Curve(_ceiling(report), *ceiling_curve(report.claim.claimed_epsilon)) if report.claim else None
    return reports.Study(
        title=title,
        summary=f"{counts(report)} {how_to_read(report)}",
        rows=tuple(rows),
        columns=tuple(column for column in COLUMNS if column.key in shown),
        exhibits=(
            roc_curves({label(name): curve for name, curve in report.curves.items()}, ceiling),
            *_slice_plots(report),
            signal_histograms(histograms),
            *_exposed(report, pictures),
        ),
        notes=reports.Notes(
            report.headline,
            (*report.warnings, *(report.claim.lines() if report.claim else ())),
            (*loss_tails.in_words(report), *report.notes, *reasons_not_run(report.not_run)),
        ),
        record={
            "provenance": dict(report.provenance),
            "members": list(report.members),
            "nonmembers": list(report.nonmembers),
            "threshold": report.threshold,
            "attacks that did not run": dict(report.not_run),
        },
    )


def table_file(report: AuditResults) -> str:
    """Returns every figure as lines of CSV: target ("all", or its number), attack, metric, value, low, high, ..."""
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
    for metric, ceiling in report.ceilings.items():
        writer.writerow(["all", "ceiling by the claimed epsilon", metric, ceiling, "", "", "modeled", "", ""])
    lines("all", {f"{report.sliced_by} on slice: {name}": row for name, row in report.slices.items()})
    return file.getvalue()


def label(name: str) -> str:
    """Returns an attack's name in words."""
    return name.replace("_", " ")


def by_reputation(attacks: Iterable[str]) -> list[str]:
    """Returns the names of the strongest attacks by reputation, whatever they find here."""
    return sorted(attacks, key=lambda name: (*PREFERRED, name).index(name))[:MAX_SCORES]


def _ceiling(report: AuditResults) -> str:
    return f"ceiling, epsilon {float(report.claim.claimed_epsilon):.4g}" if report.claim else ""


def _ceilings(report: AuditResults) -> dict[str, Estimate]:
    """Returns the ceilings as figures of the table's columns."""
    units = {column.key: column.unit for column in COLUMNS if column.key in report.ceilings}
    figures = {key: Estimate(report.ceilings[key], kind="modeled") for key in units}
    return {key: reports.percent(each) if units[key] else each for key, each in figures.items()}


def counts(report: AuditResults) -> str:
    """Returns how many targets, members and non-members there are, and how well the targets do their own work."""
    targets, members = len(report.targets), (min(report.members), max(report.members))
    what = "One model" if targets == 1 else f"{targets} models, each a target in turn"
    several = f"{members[0]}" if members[0] == members[1] else f"{members[0]} to {members[1]}"
    return f"{what}: {several} members, {min(report.nonmembers)} non-members or more{_performance(report)}."


def how_to_read(report: AuditResults) -> str:
    """Returns what intervals are over, and what an attack reaches that learns nothing."""
    over = "its records" if len(report.targets) == 1 else "the targets"
    return (
        f"95 % intervals are over {over}. An attack that learns nothing has an AUC of 0.5 and a TPR equal to its FPR; "
        f"the smallest FPR that every target can show is {100 / min(report.nonmembers):.2g} %."
    )


def _performance(report: AuditResults) -> str:
    """Returns the targets' own metric, behind a semicolon; "" if there is none."""
    words = []
    for metric, parts in report.performance.items():
        inside, outside = (parts[part].value for part in ("members", "nonmembers"))
        if metric == "accuracy":
            words.append(f"; accuracy {100 * inside:.1f} % on members and {100 * outside:.1f} % on the others")
        else:
            words.append(f"; {metric} {inside:.4g} on members and {outside:.4g} on the others")
    return "".join(words)


def _slice_plots(report: AuditResults) -> Iterator[reports.DotPlot]:
    """Yields the AUC of each slice, the worst first, and the TPR at 1 % FPR of those with enough non-members."""
    names = worst_first(report.slices)
    if not names:
        return
    alone = "Each interval is of one slice by itself; the worst of many looks worse than it is."
    yield reports.DotPlot(
        f"AUC by slice, {label(report.sliced_by)}",
        tuple(names),
        tuple(report.slices[name]["auc"] for name in names),
        digits=3,
        reference=0.5,
        note=f"Dots with 95 % intervals, the worst first; the dashed line is guessing. {alone}"
        + _allowed(report, "auc"),
    )
    shown = [name for name in names if resolved(report.slices[name], "tpr_at_1pct")]
    if shown:
        left_out = len(names) - len(shown)
        yield reports.DotPlot(
            f"TPR at 1 % FPR by slice, {label(report.sliced_by)}",
            tuple(shown),
            tuple(reports.percent(report.slices[name]["tpr_at_1pct"]) for name in shown),
            "%",
            digits=1,
            reference=1.0,
            note="In the order of the AUC; the dashed line is guessing."
            + (f" Left out: {left_out} with fewer than 100 non-members." if left_out else "")
            + _allowed(report, "tpr_at_1pct", "%"),
        )


def _allowed(report: AuditResults, metric: str, unit: str = "") -> str:
    """Returns the limit of the claimed epsilon as a sentence for a caption; "" without a claim."""
    if not report.claim:
        return ""
    value = f"{100 * report.ceilings[metric]:.4g} %" if unit else f"{report.ceilings[metric]:.3f}"
    return f" The claimed epsilon of {float(report.claim.claimed_epsilon):.4g} allows {value} at most."


def _exposed(report: AuditResults, pictures: bool) -> tuple[reports.ImageGrid | reports.TextTable, ...]:
    """Returns the most exposed records: pictures of them if wanted and possible, else a list."""
    exposed = report.most_exposed
    if exposed is None or not len(exposed.rows):
        return ()
    several = len(report.targets) > 1
    lines = [_exposed_line(exposed, i, min(report.nonmembers), several) for i in range(len(exposed.rows))]
    name = f"Most exposed records, {label(exposed.attack)}"
    share = 100 * len(lines) / min(report.members)
    if several:
        reading = "Score and FPR are taken over the targets that had the record."
    else:
        reading = f"By luck alone, the first {len(lines)} would have FPRs of up to about {share:.2g} %."
    note = (
        "The members that the attack is surest of. FPR is the share of non-members that score as high or higher. "
        f"{reading} These are training records"
    )
    if pictures and exposed.x is not None and reports.is_image_batch(exposed.x):
        note += ": show this page to those who may see them."
        captions = ["\n".join(f"{key} {value}" for key, value in line.items()) for line in lines]
        return (reports.ImageGrid.of(name, exposed.x, captions, note),)
    cells = [tuple(line.values()) for line in lines]
    return (reports.TextTable(name, tuple(lines[0]), cells, f"{note}."),)


def _exposed_line(exposed: MostExposed, i: int, nonmembers: int, several: bool) -> dict[str, str]:
    """Returns a record's class, score, FPR and name, by their headings."""
    line = {} if exposed.label is None else {"class": str(exposed.label[i])}
    line["score"] = f"{exposed.score[i]:.3g}"
    smallest = 100 / (nonmembers * int(exposed.targets[i]))  # rate that this many non-members can show
    line["FPR"] = f"{100 * exposed.fpr[i]:.2g} %" if exposed.fpr[i] else f"< {smallest:.2g} %"
    line |= {"targets": str(exposed.targets[i])} if several else {}
    return line | ({"row": str(exposed.rows[i])} if exposed.id is None else {"id": str(exposed.id[i])})
