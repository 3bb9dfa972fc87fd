"""Tables of the parts of each row's costs: bytes by purpose, operations and energy by layer."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from gecko_jax import checks
from gecko_jax.reports.consistency import KINDS, check_same_length
from gecko_jax.reports.exhibits.exhibit import Drawing, html_table
from gecko_jax.reports.rows import Table
from gecko_jax.reports.text import short


class Breakdown(NamedTuple):
    """The parts of one cost of one row.

    Attributes:
      name: the row's.
      heading: which cost, without its unit.
      unit: of the sizes.
      kind: "measured", "counted" or "modeled".
      parts: names of the parts.
      sizes: of the parts, which add up to the cost.

    >>> Breakdown("XNOR", "Deployed", "B", "counted", ("codes", "raw"), (100, 20)).total
    120.0
    """

    name: str
    heading: str
    unit: str
    kind: str
    parts: Sequence[str]
    sizes: Sequence[float]

    @property
    def total(self) -> float:
        """The sum of the parts."""
        return float(sum(self.sizes))


class CostBreakdowns(NamedTuple):
    """Breakdowns of the costs of rows.

    Attributes:
      name: its heading.
      breakdowns: of distinct names and headings.
      note: how to read it, or "".
    """

    name: str
    breakdowns: Sequence[Breakdown]
    note: str = ""

    def check(self, table: Table) -> None:
        """Raises ValueError unless each breakdown has one finite size of at least 0 for each part, and a kind."""
        del table
        checks.not_empty(f"breakdowns of {self.name!r}", self.breakdowns)
        seen = set()
        for each in self.breakdowns:
            where = f"breakdown {each.heading!r} of {each.name!r}"
            if (each.name, each.heading) in seen:
                raise ValueError(f"{where} is listed twice; a row has one breakdown of each cost.")
            seen.add((each.name, each.heading))
            checks.one_of(f"kind of {where}", each.kind, KINDS)
            check_same_length(where, {"parts": each.parts, "sizes": each.sizes})
            for size in each.sizes:
                checks.at_least(f"size in {where}", checks.finite(f"size in {where}", size), 0)

    def draw(self, table: Table, prefix: str) -> Drawing:
        """Returns a table for each cost, one line a row."""
        del table, prefix
        tables = []
        for heading in dict.fromkeys(each.heading for each in self.breakdowns):
            lines = [each for each in self.breakdowns if each.heading == heading]
            parts = list(dict.fromkeys(part for each in lines for part in each.parts))
            cells = [(each.name, short(each.total, each.unit), *_sizes(each, parts)) for each in lines]
            kinds = ", ".join(dict.fromkeys(each.kind for each in lines))
            label = f"{heading} ({kinds})"
            table_of_parts = html_table(("Row", "total", *parts), cells)
            tables.append(
                f"<h4>{escape(label)}</h4>"
                f'<div class="scroll" role="region" aria-label="{escape(label)}" tabindex="0">{table_of_parts}</div>'
            )
        return Drawing(self.name, "".join(tables), self.note)


def _sizes(breakdown: Breakdown, parts: Sequence[str]) -> list[str]:
    sizes = dict(zip(breakdown.parts, breakdown.sizes, strict=True))
    return [short(sizes[part], breakdown.unit) if part in sizes else "" for part in parts]
