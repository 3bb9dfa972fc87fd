"""Several audits on one page, for example of a model before and after private training."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Mapping

from gecko_jax import checks, reports
from gecko_jax.audit.report import page as single_page
from gecko_jax.audit.report.exhibits import roc_curves
from gecko_jax.audit.report.paired import differences
from gecko_jax.audit.report.report import Report
from gecko_jax.audit.report.results import AuditResults

MAX_CURVES = 8  # in the plot that holds the curves of all audits
SHOWN_DIFFERENCES = (
    ("auc", "AUC", lambda estimate: estimate, "", 3),
    ("tpr_at_1pct", "TPR at 1 % FPR", reports.percent, "%", 1),
)


def page(
    path: str | os.PathLike[str],
    audits: Mapping[str, Report],
    title: str = "Membership audits",
    pictures: bool = False,
) -> pathlib.Path:
    """Writes one self-contained page that compares audits: the figures of each attack side by side.

    Args:
      path: of the page.
      audits: name -> report, for example {"before": plain, "with DP": private}; two or more.
      title: the heading of the page.
      pictures: show the most exposed records themselves, if they are pictures. They are training data.

    Returns:
      The path. If the audits have the same targets, members and labels, the page holds the paired differences too, in
      which what the targets share cancels.

    Raises:
      ValueError: fewer than two audits, or what is not a Report.
      OSError: a file that cannot be written; an old one is unchanged then.

    >>> import tempfile
    >>> import numpy as np
    >>> from gecko_jax.audit import audit_model
    >>> member = [True, True, False, False] * 5
    >>> logits = np.array([[3.0, -1.0], [-1.0, 2.0], [0.5, 0.0], [0.0, 0.2]] * 5)
    >>> audits = {"before": audit_model(logits, [0, 1] * 10, member, ["loss"])}
    >>> audits["with DP"] = audit_model(logits, [0, 1, 1, 0] * 5, member, ["loss"])
    >>> page(pathlib.Path(tempfile.mkdtemp()) / "both.html", audits).name
    'both.html'
    """
    return reports.write_html(path, study(audits, title, pictures))


def study(audits: Mapping[str, AuditResults], title: str, pictures: bool = False) -> reports.Study:
    """Returns the audits as one `reports.Study`; the arguments are those of `page`."""
    if not isinstance(audits, Mapping) or not all(isinstance(each, AuditResults) for each in audits.values()):
        raise ValueError('audits must map names to reports: {"before": report, "with DP": other}.')
    checks.at_least("number of audits", len(audits), 2)
    parts = {name: single_page.study(each, pictures=pictures) for name, each in audits.items()}
    columns = {column.key: column for part in parts.values() for column in part.columns}
    exhibits = [_shared_curves(audits), *_paired(audits)]
    exhibits += [each._replace(name=f"{each.name}: {name}") for name, part in parts.items() for each in part.exhibits]
    summaries = [f"{_capital(name)}: {single_page.counts(each)}" for name, each in audits.items()]
    fewest = min(audits.values(), key=lambda each: min(each.nonmembers))
    return reports.Study(
        title=title,
        summary=" ".join((*summaries, single_page.how_to_read(fewest))),
        rows=tuple(_rows(parts)),
        columns=tuple(columns.values()),
        exhibits=tuple(exhibits),
        notes=reports.Notes(
            " ".join(f"{_capital(name)}: {part.notes.headline}" for name, part in parts.items()),
            _merged({name: part.notes.warnings for name, part in parts.items()}),
            _merged({name: part.notes.footnotes for name, part in parts.items()}),
        ),
        record={name: dict(part.record) for name, part in parts.items()},
    )


def _rows(parts: Mapping[str, reports.Study]) -> Iterator[reports.Row]:
    """Yields the rows of one attack next to each other, in the order in which attacks first occur."""
    rows = {name: {(row.group, row.name): row for row in part.rows} for name, part in parts.items()}
    groups = list(dict.fromkeys(group for each in rows.values() for group, _ in each))
    for group in groups:
        attacks = dict.fromkeys(attack for each in rows.values() for other, attack in each if other == group)
        for attack in attacks:
            for name, each in rows.items():
                if (group, attack) in each:
                    yield each[group, attack]._replace(name=f"{attack}: {name}")


def _shared_curves(audits: Mapping[str, AuditResults]) -> reports.RocCurves:
    """Returns the curves of the strongest attacks by reputation, as many as one plot holds."""
    attacks = dict.fromkeys(attack for each in audits.values() for attack in single_page.by_reputation(each.curves))
    curves = {
        f"{single_page.label(attack)}: {name}": each.curves[attack]
        for attack in attacks
        for name, each in audits.items()
        if attack in each.curves
    }
    return roc_curves(dict(list(curves.items())[:MAX_CURVES]))._replace(name="ROC curves side by side")


def _paired(audits: Mapping[str, AuditResults]) -> Iterator[reports.DotPlot]:
    """Yields each later audit minus the first, if they are of the same targets."""
    (first, ours), *others = audits.items()
    for name, theirs in others:
        same = (ours.design_hash, ours.members) == (theirs.design_hash, theirs.members)
        if not same or len(ours.targets) < 2 or not set(ours.rows) & set(theirs.rows):
            continue
        change = differences(theirs, ours)
        for metric, title, convert, unit, digits in SHOWN_DIFFERENCES:
            yield reports.DotPlot(
                f"{title}: {name} minus {first}",
                tuple(map(single_page.label, change)),
                tuple(convert(figures[metric]) for figures in change.values()),
                unit,
                digits,
                0.0,
                "Means over targets with paired 95 % intervals: what two audits of one target share cancels.",
            )


def _merged(sentences: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Returns the sentences of all audits; one that some of them lack begins with the names of the others."""
    by_sentence: dict[str, list[str]] = {}
    for name, each in sentences.items():
        for sentence in each:
            by_sentence.setdefault(sentence, []).append(name)
    return tuple(
        sentence if len(names) == len(sentences) else f"{_capital(', '.join(names))}: {sentence}"
        for sentence, names in by_sentence.items()
    )


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
