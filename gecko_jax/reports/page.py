"""A study as one HTML page: style and plots are inside, and its policy forbids every request to the network."""

from __future__ import annotations

import collections
import itertools
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from html import escape

from gecko_jax import json_values
from gecko_jax.files import write_atomic
from gecko_jax.reports.exhibits import Drawing, kind_of
from gecko_jax.reports.exhibits.tradeoff import front_meaning
from gecko_jax.reports.page_style import CSS
from gecko_jax.reports.rows import Column, Row, alarming, best, compared, largest, resolved_best, rivals
from gecko_jax.reports.study import Study, front
from gecko_jax.reports.text import (
    LETTERS,
    MEANINGS,
    MISSING,
    UNRESOLVED,
    UNRESOLVED_MEANING,
    common_kind,
    explained,
    format_value,
    heading,
    in_sentence,
    interval,
    interval_meanings,
    number,
)

MAX_USUAL_COLUMNS = 10  # more are set closer, so that they fit a desk
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def html(study: Study) -> str:
    """Returns the page: headline, warnings, the figures that matter most, the table, the exhibits and the record.

    The table has `id="table"`, an exhibit its kind and its number among those of its kind, such as `id="dot-plot-0"`.

    Args:
      study: what to show; all of its text is escaped.

    Returns:
      HTML text, the same for the same study.

    >>> from gecko_jax.types import Estimate
    >>> page = html(Study("Two networks", "", (Row("a", {"auc": Estimate(0.5)}),), (Column("auc", "AUC"),)))
    >>> page.startswith("<!DOCTYPE html>"), "default-src 'none'" in page
    (True, True)
    """
    plots = "\n".join(_sections(study))
    body = [
        f"<h1>{escape(study.title)}</h1>",
        f'<p class="headline">{escape(study.notes.headline)}</p>' if study.notes.headline else "",
        f"<p>{escape(study.summary)}</p>" if study.summary else "",
        _warnings(study),
        _tiles(study),
        "<h2>All figures</h2>",
        _table(study),
        _legend(study),
        _list("legend footnotes", study.notes.footnotes),
        f'<h2>Plots</h2>\n<div class="plots">\n{plots}\n</div>' if plots else "",
        _record(study),
    ]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(study.title)}</title>
<style>{CSS}</style>
</head>
<body>
<main>
{chr(10).join(filter(None, body))}
</main>
</body>
</html>
"""


def write_html(path: str | os.PathLike[str], study: Study) -> pathlib.Path:
    """Writes `html(study)` to a file, completely or not at all.

    Args:
      path: of the page; its folder is made if need be.
      study: what to show.

    Returns:
      The path.

    Raises:
      OSError: see `files.write_atomic`.

    >>> import tempfile
    >>> from gecko_jax.types import Estimate
    >>> study = Study("Two networks", "", (Row("a", {"auc": Estimate(0.5)}),), (Column("auc", "AUC"),))
    >>> write_html(pathlib.Path(tempfile.mkdtemp()) / "page.html", study).name
    'page.html'
    """
    return write_atomic(path, html(study))


def _warnings(study: Study) -> str:
    items = "".join(f"<li>{escape(warning)}</li>" for warning in study.notes.warnings)
    return f'<section class="notes" aria-label="Notes"><ul>{items}</ul></section>' if items else ""


def _tiles(study: Study) -> str:
    """Returns the best figure of each column of the trade-off, or of the first three columns with a better end.

    For a column with an alarm it is the largest figure, in red if it lies above the alarm.
    """
    keys = study.tradeoff.keys if study.tradeoff else ()
    keys = keys or [column.key for column in study.columns if column.better or column.alarm is not None][:3]
    tiles = []
    for column in (next(c for c in study.columns if c.key == key) for key in keys):
        if not (names := best(study, column) or largest(study, column)):
            continue
        row = next(row for row in study.rows if row.name == names[0])
        figure, ends = row.figures[column.key], interval(row.figures[column.key], column.digits)
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        near = len(rivals(study, column)) if column.better else 0
        close = f"; {near} other row{'s' * (near > 1)} within the intervals" if near else ""
        word = "Lowest" if column.better == "low" else "Highest" if column.better else "Largest"
        title = f"{word} {in_sentence(column.heading)}" if compared(study, column) else column.heading
        alarm = ' class="alarm"' if alarming(study, column) else ""
        tiles.append(
            f"<div{alarm}><dt>{escape(title)}</dt>"
            f'<dd class="figure" title="{escape(explained(row, column))}">'
            f"{format_value(figure, column.digits)} {escape(column.unit)}"
            f"{f' <small>{ends}</small>' if ends else ''}</dd>"
            f'<dd class="muted">{escape(row.name)}{others}, {figure.kind}{close}</dd></div>'
        )
    return f'<dl class="tiles">{"".join(tiles)}</dl>' if tiles else ""


def _table(study: Study) -> str:
    on_front = front(study)
    shared = {column.key: common_kind(study, column) for column in study.columns}
    marks = {
        column.key: dict.fromkeys(resolved_best(study, column), "best")
        | dict.fromkeys(alarming(study, column), "alarm")
        for column in study.columns
    }
    heads = "".join(_head(column, shared[column.key]) for column in study.columns)
    lines, group = [], ""
    for row in study.rows:
        if row.group != group:
            group = row.group
            head = f'<th colspan="{len(study.columns) + 1}" scope="rowgroup"><span>{escape(group)}</span></th>'
            lines.append(f'<tr class="group">{head}</tr>')
        star = '<abbr title="On the Pareto front">★</abbr>&nbsp;' if row.name in on_front else ""
        note = f"<br><small>{escape(row.note)}</small>" if row.note else ""
        cells = "".join(_cell(row, c, shared[c.key] is None, marks[c.key].get(row.name)) for c in study.columns)
        lines.append(f'<tr><th scope="row">{star}{escape(row.name)}{note}</th>{cells}</tr>')
    rows = "\n".join(lines)
    wide = ' class="wide"' if len(study.columns) > MAX_USUAL_COLUMNS else ""
    return (
        f'<div class="scroll" role="region" aria-label="Table of all figures" tabindex="0"><table id="table"{wide}>\n'
        f'<thead><tr><th scope="col">Row</th>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>'
    )


def _head(column: Column, kind: str | None) -> str:
    arrows = {
        "high": '<abbr title="higher is better">↑</abbr>',
        "low": '<abbr title="lower is better">↓</abbr>',
        None: "",
    }
    letter = f'<abbr title="{kind}">({LETTERS[kind]})</abbr>' if kind else ""
    parts = [escape(column.unit), letter, arrows[column.better]]
    return f'<th scope="col">{escape(column.heading)}<small>{" ".join(filter(None, parts))}</small></th>'


def _cell(row: Row, column: Column, show_kind: bool, mark: str | None) -> str:
    """Returns a figure's cell. It holds its column's name, too: on a phone the table is a list of cells."""
    figure = row.figures.get(column.key)
    text, ends = MISSING, ""
    if figure is not None:
        text, ends = format_value(figure, column.digits), interval(figure, column.digits)
    letter = f' <abbr title="{figure.kind}">{LETTERS[figure.kind]}</abbr>' if show_kind and figure is not None else ""
    if column.key in row.unresolved:
        letter += f' <abbr title="{UNRESOLVED_MEANING}">{UNRESOLVED}</abbr>'
    published = (row.published or {}).get(column.key)
    small = f"<small>{ends}</small>" if ends else ""
    small += f"<small>[{number(published, column.digits)}]</small>" if published is not None else ""
    name = "none" if figure is None and published is None else mark or ""
    shown = f' class="{name}"' if name else ""
    label = f'<span class="label" aria-hidden="true">{escape(heading(column))}</span>'
    return f'<td{shown} title="{escape(explained(row, column))}"><b>{text}</b>{letter}{small}{label}</td>'


def _legend(study: Study) -> str:
    estimates = [figure for row in study.rows for figure in row.figures.values()]
    kinds = {figure.kind for figure in estimates}
    lines = [f"({LETTERS[kind]}) {MEANINGS[kind]}." for kind in MEANINGS if kind in kinds]
    lines += [f"{line}." for line in interval_meanings(study)]
    if any(column.better for column in study.columns):
        underlined = "; the best figure of a column is underlined if its interval overlaps no other row's"
        lines.append(f"↑ or ↓ says whether high or low is better{underlined if len(study.rows) > 1 else ''}.")
    if any(alarming(study, column) for column in study.columns):
        lines.append("Bold and red: the largest figure of a column, if its interval lies above what guessing gives.")
    if study.tradeoff is not None:
        lines.append(f"★ {front_meaning(study, study.tradeoff.keys)}")
    return _list("legend", lines)


def _list(name: str, lines: Sequence[str]) -> str:
    return f'<ul class="{name}">' + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>" if lines else ""


def _sections(study: Study) -> Iterator[str]:
    """Yields the exhibits in their order; neighbors of one kind stand below each other."""
    numbers: collections.Counter[str] = collections.Counter()
    for kind, exhibits in itertools.groupby(study.exhibits, kind_of):
        sections = []
        for exhibit in exhibits:
            prefix = f"{kind.replace('_', '-')}-{numbers[kind]}"
            numbers[kind] += 1
            if (drawing := exhibit.draw(study, prefix)) is not None:
                sections.append(_section(prefix, drawing))
        if len(sections) > 1:
            sections = ["<div>\n" + "\n".join(sections) + "\n</div>"]
        yield from sections


def _section(prefix: str, drawing: Drawing) -> str:
    body = re.sub(r' xmlns="[^"]*"', "", drawing.body, count=1)  # HTML knows the namespace
    return (
        f'<section id="{prefix}"><h3>{escape(drawing.heading)}</h3>\n<figure>\n{body}'
        f"<figcaption>{escape(drawing.caption)}</figcaption></figure>{drawing.below}</section>"
    )


def _record(study: Study) -> str:
    """Returns the record of the run, each part under a fold."""
    if not study.record:
        return ""
    folds = []
    for key, value in study.record.items():
        text = value if isinstance(value, str) else json_values.dumps(value, key, indent=2, ensure_ascii=False)
        folds.append(f"<details><summary>{escape(str(key))}</summary><pre>{escape(text)}</pre></details>")
    return f'<h2 id="record">Record of the run</h2>\n{"".join(folds)}'
