"""A study as a table of plain text."""

from __future__ import annotations

import shutil
import textwrap

from gecko_jax import checks
from gecko_jax.reports.rows import Column, Row
from gecko_jax.reports.study import Study, front
from gecko_jax.reports.text import (
    LETTERS,
    MEANINGS,
    MISSING,
    UNRESOLVED,
    common_kind,
    format_value,
    interval,
    interval_meanings,
    number,
)

MIN_WIDTH = 40
GAP = "  "


def table(study: Study, width: int | None = None) -> str:
    """Returns a study as text: title, headline, warnings, the table and its legend.

    A figure is `value ± half the width of its 95 % interval`, or `value [low, high]` if the interval is not even about
    it; a published figure follows in brackets.
    The letter of its kind is under the heading if the column shares it, otherwise behind each figure. Columns
    that do not fit beside each other follow in a further block under the same row names; nothing is left out.

    Args:
      study: what to show.
      width: characters a line may have, at least 40; None: the terminal's own, 120 without a terminal.

    Returns:
      The text, without trailing spaces, ending in a line end.

    Raises:
      ValueError: for a width below 40.

    >>> from gecko_jax.types import Estimate
    >>> rows = (Row("float", {"acc": Estimate(91.04, unit="%")}), Row("binary", {"acc": Estimate(88.5, unit="%")}))
    >>> print(table(Study("Two networks", "", rows, (Column("acc", "Accuracy", "%", 1, "high"),)), 60))
    Two networks
    <BLANKLINE>
              Accuracy
                 % (m)
    ------------------
      float       91.0
      binary      88.5
    <BLANKLINE>
    (m) measured: observed in runs, with a 95 % interval if
      there is one
    <BLANKLINE>
    """
    width = shutil.get_terminal_size((120, 24)).columns if width is None else checks.at_least("width", width, MIN_WIDTH)
    width = max(width, MIN_WIDTH)
    on_front = front(study)
    noted = [row for row in study.rows if row.note]
    marks = {row.name: f" ({i + 1})" for i, row in enumerate(noted)}
    names = [f"{'*' if row.name in on_front else ' '} {row.name}{marks.get(row.name, '')}" for row in study.rows]
    widest = max(len(row.group) for row in study.rows)
    stub = min(max(max(map(len, names)), widest), max(width // 2 - 2, 16))
    parts = [_wrap(study.title, width), _wrap(study.notes.headline, width), _wrap(study.summary, width)]
    parts.append("\n".join(_wrap(f"! {warning}", width, "  ") for warning in study.notes.warnings))
    for columns in _blocks([_column(study, column) for column in study.columns], width - stub):
        parts.append(_block(study.rows, names, columns, stub))
    parts.append("\n".join(_wrap(line, width, "  ") for line in _legend(study, noted)))
    parts.append("\n".join(_wrap(footnote, width, "  ") for footnote in study.notes.footnotes))
    return "\n\n".join(part for part in parts if part) + "\n"


def _column(study: Study, column: Column) -> list[str]:
    """Returns heading lines, then a line for each row, all of one width, figures aligned at the ± sign."""
    shared = common_kind(study, column)
    cells = [_cell(row, column, mark=shared is None) for row in study.rows]
    widths = [max(len(cell[i]) for cell in cells) for i in range(3)]
    body = ["".join((c[0].rjust(widths[0]), c[1].ljust(widths[1]), c[2].ljust(widths[2]))) for c in cells]
    foot = " ".join(filter(None, (column.unit, f"({LETTERS[shared]})" if shared else "")))
    wrapped = textwrap.wrap(column.heading, max(len(body[0]), len(foot), 10), break_long_words=False) or [""]
    lines = [*wrapped, foot]
    size = max(map(len, [*lines, *body]))
    return ["\n".join(line.rjust(size) for line in lines), *(line.rjust(size) for line in body)]


def _cell(row: Row, column: Column, mark: bool) -> tuple[str, str, str]:
    figure = row.figures.get(column.key)
    value, ends = MISSING, ""
    if figure is not None:
        value, ends = format_value(figure, column.digits), interval(figure, column.digits)
    published = (row.published or {}).get(column.key)
    return (
        value,
        f" {ends}" if ends else "",
        (f" {UNRESOLVED}" if column.key in row.unresolved else "")
        + (f" {LETTERS[figure.kind]}" if mark and figure is not None else "")
        + (f" [{number(published, column.digits)}]" if published is not None else ""),
    )


def _blocks(columns: list[list[str]], room: int) -> list[list[list[str]]]:
    """Returns the columns in blocks of as many as fit side by side; one that is wider than the room stands alone."""
    blocks, used = [[]], 0
    for column in columns:
        need = len(GAP) + len(column[1])
        if blocks[-1] and used + need > room:
            blocks.append([])
            used = 0
        blocks[-1].append(column)
        used += need
    return blocks


def _block(rows: tuple[Row, ...], names: list[str], columns: list[list[str]], stub: int) -> str:
    heads = [column[0].split("\n") for column in columns]
    depth = max(map(len, heads))
    lines = []
    for i in range(depth):  # the unit, last of a heading, stands on the bottom line of all
        cells = [
            (head[:-1] + [""] * (depth - len(head)) + head[-1:])[i].rjust(len(column[1]))
            for head, column in zip(heads, columns, strict=True)
        ]
        lines.append(GAP.join([" " * stub, *cells]).rstrip())
    lines.append("-" * (stub + sum(len(GAP) + len(column[1]) for column in columns)))
    group = ""
    for i, (row, name) in enumerate(zip(rows, names, strict=True)):
        if row.group != group:
            group = row.group
            lines.append(group)
        first, *rest = textwrap.wrap(name, stub, drop_whitespace=False, subsequent_indent="  ") or [""]
        lines.append(GAP.join([first.ljust(stub), *(column[i + 1] for column in columns)]).rstrip())
        lines += [line.rstrip() for line in rest]
    return "\n".join(lines)


def _legend(study: Study, noted: list[Row]) -> list[str]:
    kinds = {figure.kind for row in study.rows for figure in row.figures.values()}
    lines = [f"({LETTERS[kind]}) {MEANINGS[kind]}" for kind in MEANINGS if kind in kinds]
    lines += interval_meanings(study)
    if study.tradeoff is not None:
        headings = [column.heading for key in study.tradeoff.keys for column in study.columns if column.key == key]
        lines.append(f"*   no other row is as good in {', '.join(headings)} and better in one of them")
    return lines + [f"({i + 1}) {row.name}: {row.note}" for i, row in enumerate(noted)]


def _wrap(text: str, width: int, indent: str = "") -> str:
    return textwrap.fill(text, width, subsequent_indent=indent)
