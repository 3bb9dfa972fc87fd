"""The paper's tables and figures beside ours: printed, ours, the difference, and the known reasons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from experiments.gecko.config import Config
from experiments.gecko.measure import COLUMNS
from experiments.gecko.methods import METHODS
from experiments.gecko.published import FIGURES, REASONS, Figure
from gecko_jax import reports
from gecko_jax.reports.text import format_value, interval, number
from gecko_jax.text_tables import aligned
from gecko_jax.types import Estimate

HEADINGS = ("row", "figure", "ours", "published", "ours − published")
WITHIN = " (within ours' interval)"


class Pair(NamedTuple):
    """A printed figure and ours of the same row and column."""

    printed: Figure
    row: str
    ours: Estimate


def pairs(config: Config, rows: Sequence[reports.Row]) -> dict[str, list[Pair]]:
    """Returns the printed figures that rows of a data set have a counterpart of, by the paper's table.

    Args:
      config: the settings, of one data set.
      rows: of its study.
    """
    by_name = {row.name: row for row in rows}
    several, by_table = len(config.architectures) > 1, {}
    for printed in FIGURES:
        if printed.dataset != config.dataset or printed.method not in METHODS:
            continue
        label = METHODS[printed.method].label
        row = by_name.get(f"{printed.network}: {label}" if several else label)
        is_here = printed.network in config.architectures and row is not None and printed.column in row.figures
        if is_here:
            by_table.setdefault(printed.table, []).append(Pair(printed, row.name, row.figures[printed.column]))
    return by_table


def lines(pairs: Sequence[Pair]) -> list[tuple[str, ...]]:
    """Returns a table's lines, one for each printed figure."""
    columns = {column.key: column for column in COLUMNS}
    rows = []
    for printed, row, ours in pairs:
        column = columns[printed.column]
        label = f"{row} ({printed.label})" if printed.label else row
        quantity = f"{column.heading}, {column.unit}" if column.unit else column.heading
        figure = f"{format_value(ours, column.digits)} {interval(ours, column.digits)}".strip()
        is_within = ours.low is not None and ours.high is not None and ours.low <= printed.value <= ours.high
        difference = f"{ours.value - printed.value:+,.{column.digits}f}{WITHIN if is_within else ''}"
        rows.append((label, quantity, figure, number(printed.value, column.digits), difference))
    return rows


def text(config: Config, study: reports.Study) -> str:
    """Returns the paper's tables beside ours as plain text; "" if no row has a printed counterpart.

    Args:
      config: the settings, of one data set.
      study: its table.
    """
    blocks = []
    for table, each in pairs(config, study.rows).items():
        reasons = [f"  why they differ: {reason}" for reason in REASONS[table]]
        blocks.append("\n".join([f"Published beside ours: {table}", *aligned([HEADINGS, *lines(each)], 2), *reasons]))
    return "\n\n".join(blocks)


def exhibits(config: Config, rows: Sequence[reports.Row]) -> tuple[reports.TextTable, ...]:
    """Returns the same tables for the study's page."""
    return tuple(
        reports.TextTable(f"Published beside ours: {table}", HEADINGS, lines(each), "; ".join(REASONS[table]) + ".")
        for table, each in pairs(config, rows).items()
    )
