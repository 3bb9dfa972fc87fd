"""Tables of plain text."""

from __future__ import annotations

from collections.abc import Sequence

GAP = "  "


def aligned(rows: Sequence[Sequence[str]], left: int | None = None, rule: bool = True) -> list[str]:
    """Returns a table's lines: cells in columns, without trailing spaces.

    Args:
      rows: the heading, then the body; all of one length.
      left: how many columns, from the first, are set to the left, and the others to the right; all if None.
      rule: whether dashes stand under the heading.

    >>> for line in aligned([("layer", "MACs"), ("conv", "1,024")], left=1):
    ...     print(line)
    layer   MACs
    -----  -----
    conv   1,024
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = len(widths) if left is None else left

    def line(cells: Sequence[str]) -> str:
        placed = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return GAP.join(placed).rstrip()

    head, *body = map(line, rows)
    return [head, *([GAP.join("-" * width for width in widths)] if rule else []), *body]
