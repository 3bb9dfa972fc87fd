"""A study: a table of figures, the exhibits beside it, and the record of the run.

A `Study` is plain data: Python floats, strings and sequences of floats. It is checked once, when it is built, so that
the tables, plots and pages made from it need no checks of their own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from gecko_jax.reports.exhibits import Exhibit, Tradeoff, check_exhibits
from gecko_jax.reports.pareto import front_rows
from gecko_jax.reports.rows import Column, Row, check_table


class Notes(NamedTuple):
    """What is said around the figures.

    Attributes:
      headline: the one sentence that everybody should take away, or "".
      warnings: sentences that a reader should see before the figures.
      footnotes: what a reader may ask about the figures; shown below them.
    """

    headline: str = ""
    warnings: tuple[str, ...] = ()
    footnotes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Study:
    """Everything that a report shows.

    Attributes:
      title: of the report.
      summary: the question and the answer, in a sentence or two.
      rows: the table's lines, in order.
      columns: the table's columns, in order.
      exhibits: plots, images and lists in the order of the page; see `exhibits.EXHIBITS` for the kinds.
      notes: headline, warnings and footnotes.
      record: how to run it again: config, seeds, timings, environment; anything that JSON can hold.

    Raises:
      TypeError: if an exhibit is not of a listed kind.
      ValueError: if two rows, two columns or two exhibits of a kind share a name, a figure has no column or not its
        column's unit, or an exhibit cannot be shown.

    Example:
      >>> from gecko_jax.types import Estimate
      >>> rows = (Row("float", {"acc": Estimate(91.0, unit="%")}), Row("binary", {"acc": Estimate(88.5, unit="%")}))
      >>> study = Study("Two networks", "", rows, (Column("acc", "Accuracy", "%", 1, "high"),))
      >>> [row.name for row in study.rows]
      ['float', 'binary']
    """

    title: str
    summary: str
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    exhibits: tuple[Exhibit, ...] = ()
    notes: Notes = Notes()
    record: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        check_table(self.rows, self.columns)
        check_exhibits(self.exhibits, self)

    @property
    def tradeoff(self) -> Tradeoff | None:
        """The first trade-off among the exhibits: its columns decide which rows are on the Pareto front."""
        return next((exhibit for exhibit in self.exhibits if isinstance(exhibit, Tradeoff)), None)


def front(study: Study) -> frozenset[str]:
    """Returns the names of the rows on the Pareto front of the study's trade-off.

    Args:
      study: any study.

    Returns:
      The names; empty without a trade-off. A row without a resolved figure in each of its columns is not on the front.

    >>> from gecko_jax.types import Estimate
    >>> points = {"a": (0.9, 60.0), "b": (0.8, 50.0), "c": (0.8, 55.0)}  # b beats c
    >>> rows = tuple(Row(name, {"acc": Estimate(acc), "ms": Estimate(ms)}) for name, (acc, ms) in points.items())
    >>> columns = Column("acc", "Accuracy", better="high"), Column("ms", "Time", better="low")
    >>> study = Study("Networks", "", rows, columns, (Tradeoff("ms", "acc"),))
    >>> sorted(front(study)), study.tradeoff.name
    (['a', 'b'], 'acc against ms')
    """
    return front_rows(study, study.tradeoff.keys) if study.tradeoff else frozenset()
