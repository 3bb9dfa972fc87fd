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
from gecko_jax.reports.explorer import explorer, explorer_css, explorer_policy
from gecko_jax.reports.page_style import CSS
from gecko_jax.reports.page_table import legend_of, list_of, table_of
from gecko_jax.reports.rows import alarming, best, compared, largest, rivals
from gecko_jax.reports.study import Study
from gecko_jax.reports.text import explained, format_value, in_sentence, interval

MAX_TABLE_COLUMNS = 12  # what a desk has room for; of more, a person chooses in the explorer
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def html(study: Study) -> str:
    """Returns the page: headline, warnings, the figures that matter most, the table, the exhibits and the record.

    The table has `id="table"`, an exhibit its kind and its number among those of its kind, such as `id="dot-plot-0"`.
    A study of more columns than a desk has room for shows the explorer instead, and the whole table under a fold.

    Args:
      study: what to show; all of its text is escaped.

    Returns:
      HTML text, the same for the same study.

    >>> from gecko_jax.reports import Column, Row
    >>> from gecko_jax.types import Estimate
    >>> page = html(Study("Two networks", "", (Row("a", {"auc": Estimate(0.5)}),), (Column("auc", "AUC"),)))
    >>> page.startswith("<!DOCTYPE html>"), "default-src 'none'" in page
    (True, True)
    """
    plots = "\n".join(_sections(study))
    wide = len(study.columns) > MAX_TABLE_COLUMNS
    body = [
        *_head(study),
        _tiles(study),
        "<h2>All figures</h2>",
        *(_explored(study) if wide else [table_of(study), legend_of(study)]),
        list_of("legend footnotes", study.notes.footnotes),
        f'<h2>Plots</h2>\n<div class="plots">\n{plots}\n</div>' if plots else "",
        _record(study),
    ]
    return _page(study, body, explored=wide)


def explorer_html(study: Study) -> str:
    """Returns a page for choosing a model: axes, budgets, the Pareto front, and what is known of the one picked.

    Args:
      study: what to choose from, such as `read_results(folder)`; all of its text is escaped.

    Returns:
      HTML text, the same for the same study. It asks the network for nothing, and runs its own script alone.

    >>> from gecko_jax.reports import Column, Row
    >>> from gecko_jax.types import Estimate
    >>> page = explorer_html(Study("Two networks", "", (Row("a", {"auc": Estimate(0.5)}),), (Column("auc", "AUC"),)))
    >>> 'id="explorer"' in page, "default-src 'none'" in page
    (True, True)
    """
    return _page(study, [*_head(study), *_explored(study)], explored=True)


def _head(study: Study) -> list[str]:
    return [
        f"<h1>{escape(study.title)}</h1>",
        f'<p class="headline">{escape(study.notes.headline)}</p>' if study.notes.headline else "",
        f"<p>{escape(study.summary)}</p>" if study.summary else "",
        _warnings(study),
    ]


def _explored(study: Study) -> list[str]:
    """Returns the explorer, and the whole table under a fold."""
    table = f"<details><summary>All figures in one table</summary>{table_of(study)}{legend_of(study)}</details>"
    return [explorer(study), table]


def _page(study: Study, body: Sequence[str], explored: bool) -> str:
    policy, css = (f"{POLICY}; {explorer_policy()}", CSS + explorer_css()) if explored else (POLICY, CSS)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(study.title)}</title>
<style>{css}</style>
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
    >>> from gecko_jax.reports import Column, Row
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
