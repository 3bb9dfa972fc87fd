"""Rows of figures and the columns that hold them, and which figures of a column stand out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from gecko_jax import checks
from gecko_jax.reports.consistency import KINDS, check_estimate, check_unique
from gecko_jax.types import Estimate


class Row(NamedTuple):
    """One line of the table: a method, a model, a setting.

    Attributes:
      name: unique in its study.
      figures: column key -> Estimate. A key that is absent is shown as a dash.
      group: a heading shared by neighboring rows, or "".
      note: one sentence about this row, or "".
      published: column key -> the figure that somebody else printed, or None.
      unresolved: keys of the figures that need more records than there were: marked as such, and never as the best.
      command: one line of shell that makes this row again, or "".
    """

    name: str
    figures: Mapping[str, Estimate]
    group: str = ""
    note: str = ""
    published: Mapping[str, float] | None = None
    unresolved: Sequence[str] = ()
    command: str = ""


class Column(NamedTuple):
    """One figure of each row.

    Attributes:
      key: names the figure in `Row.figures`.
      heading: what a reader sees, without the unit.
      unit: the unit of every figure in it ("" for a pure number).
      digits: decimals shown.
      better: "high", "low", or None if neither is.
      alarm: what guessing gives (0.5 of an AUC), for a column whose large figures are bad news: the largest is shown
        in red if its interval lies above. None for any other column.
    """

    key: str
    heading: str
    unit: str = ""
    digits: int = 2
    better: str | None = None
    alarm: float | None = None


class Table(Protocol):
    """What an exhibit sees of its study: the rows and the columns."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """Of the table."""
        ...

    @property
    def columns(self) -> tuple[Column, ...]:
        """Of the table."""
        ...


def check_table(rows: Sequence[Row], columns: Sequence[Column]) -> None:
    """Raises ValueError unless rows and columns have distinct names, and each figure its column's unit."""
    checks.not_empty("rows", rows)
    checks.not_empty("columns", columns)
    check_unique("rows", [row.name for row in rows])
    check_unique("columns", [column.key for column in columns])
    by_key = {column.key: column for column in columns}
    for column in columns:
        checks.one_of(f"columns[{column.key!r}].better", column.better, ("high", "low", None))
        checks.at_least(f"columns[{column.key!r}].digits", column.digits, 0)
        if column.alarm is not None and (column.better is not None or not math.isfinite(column.alarm)):
            raise ValueError(
                f"columns[{column.key!r}] has alarm={column.alarm!r} and better={column.better!r}; an alarm is a "
                "finite number, and its column has better=None: the largest figure is shown as the worst."
            )
    for row in rows:
        for key, estimate in row.figures.items():
            column = checks.lookup(f"figure of row {row.name!r}", key, by_key)
            check_estimate(f"figure {key!r} of row {row.name!r}", estimate, column.unit, "column")
        for key in row.published or ():
            checks.one_of(f"published figure of row {row.name!r}", key, by_key)
        for key in row.unresolved:
            checks.one_of(f"unresolved figure of row {row.name!r}", key, row.figures)


def percent(estimate: Estimate) -> Estimate:
    """Returns a proportion as a percentage: value, low and high times 100.

    Args:
      estimate: an Estimate without a unit.

    Returns:
      The Estimate in "%".

    Raises:
      ValueError: if it has a unit already.

    >>> percent(Estimate(0.5, 0.25, 0.75)).high
    75.0
    """
    checks.one_of("unit of the proportion", estimate.unit, ("",))
    return estimate.map(lambda part: 100 * part)._replace(unit="%")


def half_width(estimate: Estimate) -> float | None:
    """Returns half the width of the interval, (high - low) / 2, or None if the figure has none."""
    return None if estimate.low is None or estimate.high is None else (estimate.high - estimate.low) / 2


def best(table: Table, column: Column) -> tuple[str, ...]:
    """Returns the names of the rows with a column's best figure; () if neither high nor low is better."""
    return () if column.better is None else _extreme(table, column, max if column.better == "high" else min)


def rivals(table: Table, column: Column) -> tuple[str, ...]:
    """Returns the rows whose interval overlaps that of a column's best figure: they cannot be told apart from it."""
    names = best(table, column)
    figures = {row.name: row.figures[column.key] for row in table.rows if column.key in row.figures}
    tops = [_ends(figures[name]) for name in names]
    return tuple(
        name
        for name, (low, high) in ((name, _ends(figure)) for name, figure in figures.items() if name not in names)
        if any(low <= top_high and high >= top_low for top_low, top_high in tops)
    )


def compared(table: Table, column: Column) -> bool:
    """Returns whether several rows have the column's figure: one alone is neither the best nor the worst."""
    return sum(column.key in row.figures for row in table.rows) > 1


def resolved_best(table: Table, column: Column) -> tuple[str, ...]:
    """Returns the rows with a column's best figure, if it is compared and its interval overlaps no other row's."""
    return best(table, column) if compared(table, column) and not rivals(table, column) else ()


def _ends(figure: Estimate) -> tuple[float, float]:
    """Returns the ends of the interval, or the figure twice if it has none."""
    return (figure.value, figure.value) if figure.low is None or figure.high is None else (figure.low, figure.high)


def largest(table: Table, column: Column) -> tuple[str, ...]:
    """Returns the names of the rows with the largest measured figure of a column with an `alarm`; () of any other.

    A figure that was computed (a bound) does not count.
    """
    return () if column.alarm is None else _extreme(table, column, max, ("measured",))


def alarming(table: Table, column: Column) -> tuple[str, ...]:
    """Returns those of the `largest` whose interval (or, without one, whose figure) lies above the column's `alarm`."""
    names = largest(table, column)
    figures = {row.name: row.figures[column.key] for row in table.rows if row.name in names}
    ends = {name: figure.value if figure.low is None else figure.low for name, figure in figures.items()}
    return tuple(name for name, end in ends.items() if column.alarm is not None and end > column.alarm)


def _extreme(
    table: Table, column: Column, extreme: Callable[..., float], kinds: Sequence[str] = KINDS
) -> tuple[str, ...]:
    """Returns the rows with the extreme figure of a column, NaN and unresolved figures left out."""
    rows = [row for row in table.rows if column.key in row.figures and column.key not in row.unresolved]
    values = {row.name: row.figures[column.key].value for row in rows if row.figures[column.key].kind in kinds}
    values = {name: value for name, value in values.items() if not math.isnan(value)}
    top = extreme(values.values()) if values else None
    return tuple(name for name, value in values.items() if value == top)
