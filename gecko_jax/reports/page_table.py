"""The table of all figures on a page, and its legend."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from gecko_jax.reports.exhibits.tradeoff import front_meaning
from gecko_jax.reports.rows import Column, Row, alarming, resolved_best
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
    interval,
    interval_meanings,
    number,
)

MAX_USUAL_COLUMNS = 10  # more are set closer, so that they fit a desk


def table_of(study: Study) -> str:
    """Returns the table; on a phone each row is a card."""
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


def legend_of(study: Study) -> str:
    """Returns what the signs of the table mean."""
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
    return list_of("legend", lines)


def list_of(name: str, lines: Sequence[str]) -> str:
    """Returns a list of lines of text, or "" without a line."""
    return f'<ul class="{name}">' + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>" if lines else ""
