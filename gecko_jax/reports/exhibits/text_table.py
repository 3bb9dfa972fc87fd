"""A short table of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gecko_jax import checks
from gecko_jax.reports.consistency import check_same_length
from gecko_jax.reports.exhibits.exhibit import Drawing, html_table
from gecko_jax.reports.rows import Table


class TextTable(NamedTuple):
    """A short table of text.

    Attributes:
      name: its heading.
      headings: one for each of the c columns.
      lines: k sequences of c cells.
      note: how to read it, or "".
    """

    name: str
    headings: Sequence[str]
    lines: Sequence[Sequence[str]]
    note: str = ""

    def check(self, table: Table) -> None:
        """Raises ValueError unless there is at least one line, and each has one cell for each heading."""
        del table
        checks.not_empty(f"lines of {self.name!r}", self.lines)
        for line in self.lines:
            check_same_length(self.name, {"headings": self.headings, "a line": line})

    def draw(self, table: Table, prefix: str) -> Drawing:
        """Returns the table as HTML."""
        del table, prefix
        return Drawing(self.name, html_table(self.headings, self.lines), self.note)
