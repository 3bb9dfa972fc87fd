"""Budgets of a device or a risk, and how far a row's figures keep to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from gecko_jax import checks
from gecko_jax.reports.roles import RATES, better_end, columns_of, role_of
from gecko_jax.reports.rows import Column, Row, Table
from gecko_jax.reports.text import format_value, interval, number
from gecko_jax.reports.units import highest_rate, quantity
from gecko_jax.types import Estimate


class Budget(NamedTuple):
    """A bound on one column.

    Attributes:
      name: the limit that it comes from, such as "max_bytes".
      column: whose figures it bounds.
      limit: in the column's unit.
      sense: "low" if figures must be at most the limit, "high" if at least.
    """

    name: str
    column: Column
    limit: float
    sense: str

    def __str__(self):
        return f"{self.column.heading} {'at most' if self.sense == 'low' else 'at least'} {self.amount(self.limit)}"

    def amount(self, value: float) -> str:
        """Returns a limit with its unit, and with as many digits as it has (six at most)."""
        digits = self.column.digits
        while digits < 6 and abs(round(value, digits) - value) > 1e-9 * abs(value):
            digits += 1
        return f"{number(value, digits)} {self.column.unit}".strip()

    def gap(self, value: float) -> str:
        """Returns a difference in words, of percentages in points; one above 0 is never written as 0."""
        unit = "points" if self.column.unit == "%" else self.column.unit
        return f"{number(value, self.column.digits)} {unit}".strip()

    def admitting(self, verdict: Verdict) -> Budget:
        """Returns the budget that a figure just keeps to, rounded outward to the column's digits."""
        assert verdict.figure is not None
        sign, step = (1.0 if self.sense == "low" else -1.0), 10.0**-self.column.digits
        value = sign * verdict.figure.value / step
        limit = math.ceil(value - 1e-9) if math.isfinite(value) else value
        return self._replace(limit=sign * float(f"{limit * step:.12g}"))


class Verdict(NamedTuple):
    """How a row's figure compares with a budget.

    Attributes:
      budget: the bound.
      figure: the row's, or None if it has none that counts: absent, NaN or not resolved.
      excess: how far the figure is on the wrong side, in the column's unit: 0 if within, infinity without a figure.
      worst_excess: the same of the worse end of the figure's 95 % interval.
    """

    budget: Budget
    figure: Estimate | None
    excess: float
    worst_excess: float

    def __str__(self):
        column = self.budget.column
        if self.figure is None:
            return f"{column.heading}: no figure"
        parts = (
            format_value(self.figure, column.digits),
            interval(self.figure, column.digits),
            column.unit,
            f"({self.figure.kind})",
        )
        return f"{column.heading} {' '.join(filter(None, parts))}"


def verdict(budget: Budget, row: Row) -> Verdict:
    """Returns how a row's figure compares with a budget."""
    figure = row.figures.get(budget.column.key)
    if figure is None or budget.column.key in row.unresolved or math.isnan(figure.value):
        return Verdict(budget, None, math.inf, math.inf)
    worse = figure.high if budget.sense == "low" else figure.low
    worse = figure.value if worse is None or math.isnan(worse) else worse
    sign = 1.0 if budget.sense == "low" else -1.0
    excess, worst = (max(sign * (value - budget.limit), 0.0) for value in (figure.value, worse))
    return Verdict(budget, figure, excess, max(excess, worst))


class Limit(NamedTuple):
    """A kind of budget that a person names without knowing the table's keys.

    Attributes:
      help: what it bounds, for `--help` and messages.
      sense: "low" if figures must be at most the limit, "high" if at least.
      role: of its columns.
      chosen: which columns of the role it bounds; all that it bounds must keep to it.
    """

    help: str
    sense: str
    role: str
    chosen: Callable[[list[Column]], list[Column]]


def _first(columns: list[Column]) -> list[Column]:
    return columns[:1]


def _words(*wanted: str, without: tuple[str, ...] = ()) -> Callable[[list[Column]], list[Column]]:
    def chosen(columns: list[Column]) -> list[Column]:
        words = {column.key: set(column.key.split("_")) for column in columns}
        return [c for c in columns if words[c.key].issuperset(wanted) and not words[c.key] & set(without)]

    return chosen


LIMITS: dict[str, Limit] = {
    "max_bytes": Limit("bytes on the device, such as 64kB", "low", "flash", _first),
    "max_ram": Limit("bytes of activations, such as 20kB", "low", "ram", _first),
    "max_tpr": Limit("TPR at 1 % FPR of every attack in the table, such as 2%", "low", "leak", _words("tpr", "1pct")),
    "max_auc": Limit("AUC of every attack in the table, such as 0.55", "low", "leak", _words("auc")),
    "max_attack_accuracy": Limit(
        "balanced accuracy of every attack, such as 55%", "low", "leak", _words("attack", without=("auc", "tpr"))
    ),
    "max_energy": Limit("energy of one inference, such as 30uJ", "low", "energy", _first),
    "max_epsilon": Limit("ε of a private row; a row without ε has no guarantee", "low", "epsilon", _first),
    "max_ece": Limit("expected calibration error, such as 3%", "low", "calibration", _first),
    "min_accuracy": Limit("accuracy on records that were not trained on, such as 90%", "high", "accuracy", _first),
}


def read_budgets(table: Table, limits: Mapping[str, float | str]) -> tuple[Budget, ...]:
    """Returns the budgets that limits mean for a table.

    Args:
      table: whose columns are bounded.
      limits: name -> quantity. A name is one of `LIMITS`, or a column's key, whose better end says which side is meant.

    Raises:
      ValueError: for no limit, a name that is neither, a limit that no column of the table answers, a column without a
        better end, a quantity of another unit, one below 0, or a rate above 1.
    """
    if not limits:
        raise ValueError(f"no budget is given; give at least one of {', '.join(LIMITS)}, or a column's key.")
    budgets, keys = [], {column.key: column for column in table.columns}
    for name, value in limits.items():
        if name in keys:
            sense, columns = better_end(keys[name]), [keys[name]]
            if sense is None:
                ends = ", ".join(key for key, column in keys.items() if better_end(column))
                raise ValueError(
                    f"{name}={value}: neither end of this column is better, so that a budget has no side. "
                    f"Columns with a better end: {ends}."
                )
        else:
            limit = LIMITS[checks.one_of("budget", name, (*LIMITS, *keys))]
            sense, columns = limit.sense, limit.chosen(columns_of(table, limit.role))
        if not columns:
            raise ValueError(f"{name}={value} bounds {LIMITS[name].help.split(',')[0]}; {_others(table, name)}")
        budgets += [Budget(name, column, _amount(name, value, column), sense) for column in columns]
    return tuple(budgets)


def _amount(name: str, value: float | str, column: Column) -> float:
    """Returns a limit in its column's unit.

    Raises:
      ValueError: as `quantity` does, and for one that every model or none keeps to: below 0, or above 1 of a rate.
    """
    amount = quantity(name, value, column.unit)
    if role_of(column.key) in RATES and amount > highest_rate(column.unit):
        raise ValueError(f"{name}={value} bounds {column.heading}, a rate: give at most 1, such as 0.55 or 55%.")
    if name in LIMITS and amount < 0:
        raise ValueError(f"{name}={value} must be at least 0: no model has less than nothing.")
    return amount


def _others(table: Table, name: str) -> str:
    """Returns what a table has instead of the columns that a limit asks for."""
    keys = [column.key for column in columns_of(table, LIMITS[name].role)]
    keys = keys or [column.key for column in table.columns if better_end(column)]
    return f"the table has no such column. Bound one that it has by its key: {checks.listed(keys, 20)}."
