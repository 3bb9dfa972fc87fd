"""What every kind of exhibit offers, and what it returns to the page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple, Protocol, Self

from gecko_jax.reports.rows import Table


class Drawing(NamedTuple):
    """What stands in one section of a page.

    Attributes:
      heading: plain text.
      body: HTML: an `<svg>`, a list of images, a table.
      caption: plain text that says how to read it, or "".
      below: HTML beneath the caption, or "".
    """

    heading: str
    body: str
    caption: str = ""
    below: str = ""


class Exhibit(Protocol):
    """The contract of the kinds in `exhibits.EXHIBITS`, each a NamedTuple of plain data."""

    @property
    def name(self) -> str:
        """Its heading, unique among the exhibits of its kind."""
        ...

    def _asdict(self) -> dict[str, Any]:
        """Returns its fields, which a NamedTuple does by itself."""
        ...

    def _replace(self, **fields: Any) -> Self:
        """Returns it with other values of some fields, which a NamedTuple does by itself."""
        ...

    def check(self, table: Table) -> None:
        """Raises ValueError, with the exhibit's name, if it cannot be shown beside the table."""

    def draw(self, table: Table, prefix: str) -> Drawing | None:
        """Returns what the page shows, or None if there is nothing to show.

        Args:
          table: the rows and columns of its study.
          prefix: begins every HTML id in it, so that several exhibits may stand on one page.
        """


def html_table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Returns a small HTML table of plain text; the first cell of each line is its heading."""
    heads = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    rows = [
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in lines
    ]
    body = "\n".join(rows)
    return f'<table class="small"><thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table>'
