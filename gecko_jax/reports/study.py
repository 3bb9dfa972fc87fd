"""The nouns of a report: rows of figures, the columns they stand in, the curves beside them, and the record of the run.

A `Study` is plain data: Python floats, strings and sequences of floats. It is checked once, when it is built, so that
the tables, plots and pages made from it need no checks of their own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.metrics import ReliabilityBins
from gecko_jax.reports.consistency import KINDS, check_estimate, check_same_length, check_unique
from gecko_jax.reports.exhibits import Dots, Listing, Pictures, check_exhibits
from gecko_jax.types import Estimate


class Row(NamedTuple):
    """One line of the table: a method, a model, a setting.

    Attributes:
      name: unique in its study.
      figures: column key -> Estimate. A key that is absent is shown as a dash.
      group: a heading shared by neighbouring rows, or "".
      note: one sentence about this row, or "".
      published: column key -> the figure that somebody else printed, or None.
      unresolved: keys of the figures that need more records than there were: marked as such, and never as the best.
    """

    name: str
    figures: Mapping[str, Estimate]
    group: str = ""
    note: str = ""
    published: Mapping[str, float] | None = None
    unresolved: Sequence[str] = ()


class Column(NamedTuple):
    """One figure of each row.

    Attributes:
      key: names the figure in `Row.figures`.
      heading: what a reader sees, without the unit.
      unit: the unit of every figure in it ("" for a pure number).
      digits: decimals shown.
      better: "high", "low", or None where neither is.
      alarm: what harmlessness gives (an attack's AUC by guessing), of a column whose large figures are bad news: the
        largest stands out in red if its interval lies above. None for any other column.
    """

    key: str
    heading: str
    unit: str = ""
    digits: int = 2
    better: str | None = None
    alarm: float | None = None


class Curve(NamedTuple):
    """A line y(x), with a band from low to high or without. All are sequences of one length.

    The name is a row's, or begins with a row's and goes on after a comma ("XNOR, test"): it is then drawn with it.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


class Histogram(NamedTuple):
    """Counts of members and non-members in the bins between `edges` (one more than there are bins).

    `note` is a sentence about it, or "".
    """

    name: str
    edges: Sequence[float]
    members: Sequence[float]
    nonmembers: Sequence[float]
    note: str = ""


class Reliability(NamedTuple):
    """A model's reliability diagram: its name, and the fields of `metrics.ReliabilityBins` as plain sequences.

    Where a bin is empty its mean confidence and accuracy are 0 here, not NaN.
    """

    name: str
    edges: Sequence[float]
    count: Sequence[float]
    confidence: Sequence[float]
    accuracy: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]

    @classmethod
    def of(cls, name: str, bins: ReliabilityBins) -> Reliability:
        """The diagram of `metrics.reliability_bins(probs, labels)`."""
        return cls(name, *(np.nan_to_num(part).tolist() for part in bins))

    @property
    def bins(self) -> ReliabilityBins:
        """The arrays again."""
        return ReliabilityBins(*(np.asarray(part) for part in self[1:]))


@dataclasses.dataclass(frozen=True)
class Study:
    """Everything a report shows.

    Attributes:
      title: of the report.
      summary: what was asked and found, in a sentence or two.
      rows: the table's lines, in order.
      columns: the table's columns, in order.
      rocs: attack ROC curves, x the false-positive rate and y the true-positive rate, both in 0..1.
      histograms: the attack's signal on members and on non-members.
      losses: training curves, x the epoch or step.
      reliabilities: reliability diagrams, of distinct names.
      record: how to make it again: config, seeds, timings, environment; anything JSON can hold.
      notes: warnings that a reader should see before the figures.
      tradeoff: keys of the columns on the x axis, on the y axis and (or None) in the marker's area, or None: no plot.
      dots: charts of figures with their intervals, of distinct names.
      pictures: grids of small pictures, of distinct names.
      listings: short lists, of distinct names.
      curves_a_panel: at most so many curves are drawn into one panel, 1 to 8.
      headline: the one sentence that everybody should take away, or "".
      footnotes: what a reader may ask about the figures; below them.
      ceiling: what no ROC curve can exceed if a guarantee holds, drawn into every panel of them, or None.

    Raises:
      ValueError: for two rows, columns or histograms of one name, a figure without a column, a figure whose unit is not
        its column's, an unknown kind, half an interval, or curves of uneven length; see also `exhibits`.
    """

    title: str
    summary: str
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    rocs: tuple[Curve, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    losses: tuple[Curve, ...] = ()
    reliabilities: tuple[Reliability, ...] = ()
    record: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    tradeoff: tuple[str, str, str | None] | None = None
    dots: tuple[Dots, ...] = ()
    pictures: tuple[Pictures, ...] = ()
    listings: tuple[Listing, ...] = ()
    curves_a_panel: int = 8
    headline: str = ""
    footnotes: tuple[str, ...] = ()
    ceiling: Curve | None = None

    def __post_init__(self):
        checks.not_empty("rows", self.rows)
        checks.not_empty("columns", self.columns)
        check_unique("rows", [row.name for row in self.rows])
        check_unique("columns", [column.key for column in self.columns])
        check_unique("histograms", [histogram.name for histogram in self.histograms])
        columns = {column.key: column for column in self.columns}
        for column in self.columns:
            checks.one_of(f"columns[{column.key!r}].better", column.better, ("high", "low", None))
            checks.at_least(f"columns[{column.key!r}].digits", column.digits, 0)
            if column.alarm is not None and (column.better is not None or not math.isfinite(column.alarm)):
                raise ValueError(
                    f"columns[{column.key!r}] has alarm={column.alarm!r} and better={column.better!r}; an alarm is a "
                    "finite number, and its column has better=None: the largest figure is shown as the worst."
                )
        for row in self.rows:
            for key, estimate in row.figures.items():
                column = checks.lookup(f"figure of row {row.name!r}", key, columns)
                check_estimate(f"figure {key!r} of row {row.name!r}", estimate, column.unit, "column")
            for key in row.published or ():
                checks.one_of(f"published figure of row {row.name!r}", key, columns)
            for key in row.unresolved:
                checks.one_of(f"unresolved figure of row {row.name!r}", key, row.figures)
        if self.tradeoff is not None:
            checks.shape("tradeoff", self.tradeoff, (3,))
            for key in self.tradeoff:
                if key is not None and checks.lookup("tradeoff", key, columns).better is None:
                    raise ValueError(f"tradeoff={key!r}: its column must say whether 'high' or 'low' is better.")
        for curve in (*self.rocs, *self.losses, *([self.ceiling] if self.ceiling else [])):
            check_same_length(curve.name, {k: v for k, v in curve._asdict().items() if k != "name" and v is not None})
            if (curve.low is None) != (curve.high is None):
                raise ValueError(f"curve {curve.name!r} has half a band; give both low and high, or neither.")
        check_unique("reliabilities", [diagram.name for diagram in self.reliabilities])
        for diagram in self.reliabilities:
            parts = {key: part for key, part in diagram._asdict().items() if key not in ("name", "edges")}
            check_same_length(diagram.name, {"edges[1:]": diagram.edges[1:], **parts})
        for histogram in self.histograms:
            bins = {"edges[1:]": histogram.edges[1:], "members": histogram.members, "nonmembers": histogram.nonmembers}
            check_same_length(histogram.name, bins)
        checks.between("curves_a_panel", checks.whole("curves_a_panel", self.curves_a_panel, 1), 1, 8)
        check_exhibits(self.dots, self.pictures, self.listings)


def percent(estimate: Estimate) -> Estimate:
    """A proportion as a percentage, interval and all: value * 100.

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
    low, high = (None if end is None else 100 * end for end in (estimate.low, estimate.high))
    return estimate._replace(value=100 * estimate.value, low=low, high=high, unit="%")


def half_width(estimate: Estimate) -> float | None:
    """Half the width of the interval, (high - low) / 2, or None where the figure has none."""
    return None if estimate.low is None else (estimate.high - estimate.low) / 2


def best(study: Study, column: Column) -> tuple[str, ...]:
    """Names of the rows with the best figure of a column: () where neither high nor low is better, or none has one."""
    return () if column.better is None else _extreme(study, column, max if column.better == "high" else min)


def largest(study: Study, column: Column) -> tuple[str, ...]:
    """Names of the rows with the largest measured figure of a column that has an `alarm`; () of any other.

    A figure that is computed (a bound) is not one that was found.
    """
    return () if column.alarm is None else _extreme(study, column, max, ("measured",))


def alarming(study: Study, column: Column) -> tuple[str, ...]:
    """Those of the `largest` whose interval (or, without one, whose figure) lies above the column's `alarm`."""
    names = largest(study, column)
    figures = {row.name: row.figures[column.key] for row in study.rows if row.name in names}
    ends = {name: figure.value if figure.low is None else figure.low for name, figure in figures.items()}
    return tuple(name for name, end in ends.items() if end > column.alarm)


def _extreme(
    study: Study, column: Column, extreme: Callable[..., float], kinds: Sequence[str] = KINDS
) -> tuple[str, ...]:
    """Rows with the extreme figure of a column. NaN is not one, and neither is a figure that is not resolved."""
    rows = [row for row in study.rows if column.key in row.figures and column.key not in row.unresolved]
    values = {row.name: row.figures[column.key].value for row in rows if row.figures[column.key].kind in kinds}
    values = {name: value for name, value in values.items() if not math.isnan(value)}
    top = extreme(values.values()) if values else None
    return tuple(name for name, value in values.items() if value == top)
