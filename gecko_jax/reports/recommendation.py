"""Which rows of a table keep to budgets, or which budget fails and by how much: in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from gecko_jax.reports.budgets import Budget, Verdict, read_budgets, verdict
from gecko_jax.reports.roles import better_end, columns_of, role_of
from gecko_jax.reports.rows import Row, Table
from gecko_jax.reports.text import number

MAX_NAMED, MAX_NEAREST = 10, 3  # rows of a list: of those that fit, of those that miss the least
LOWER_BOUND = "A leak is what the attacks of this table found; only an ε bounds what others may find."


class Candidate(NamedTuple):
    """A row beside the budgets.

    Attributes:
      row: of the table.
      verdicts: one for each budget.
    """

    row: Row
    verdicts: tuple[Verdict, ...]

    @property
    def failing(self) -> tuple[Verdict, ...]:
        """The verdicts on budgets that the row breaks or has no figure for."""
        return tuple(each for each in self.verdicts if each.excess > 0)

    @property
    def uncertain(self) -> tuple[Verdict, ...]:
        """The verdicts on budgets that the figure keeps to, but not the worse end of its 95 % interval."""
        return tuple(each for each in self.verdicts if each.excess == 0 < each.worst_excess)


class Recommendation(NamedTuple):
    """The rows that keep to all budgets, best first, and the others.

    Attributes:
      budgets: that were given.
      fitting: rows that keep to all of them; those that do with their whole intervals come first, then by accuracy.
      others: the rows that do not, in the table's order.
    """

    budgets: tuple[Budget, ...]
    fitting: tuple[Candidate, ...]
    others: tuple[Candidate, ...]

    def __str__(self):
        return "\n".join(_fitting(self) if self.fitting else _failing(self))


def recommend(table: Table, limits: Mapping[str, float | str]) -> Recommendation:
    """Finds the rows that keep to budgets, or says which budget fails and by how much.

    A row without a figure that a budget needs, or with one that is not resolved, does not fit. `str` of the result is
    the answer in words.

    Args:
      table: a `Study`, or other rows and columns.
      limits: name -> quantity: "max_bytes", "max_ram", "max_tpr" (at 1 % FPR, of every attack in the table), "max_auc",
        "max_attack_accuracy", "max_energy", "max_epsilon", "max_ece", "min_accuracy", or the key of a column. Bytes
        and shares may be bare numbers; other units are written: "64kB", "2%", "30uJ".

    Returns:
      The recommendation.

    Raises:
      ValueError: for no limit, one that no column answers, or a quantity of another unit.

    >>> from gecko_jax.reports import Column, Row, Study
    >>> from gecko_jax.types import Estimate
    >>> sizes = {"float": (92.0, 4800.0), "binary": (88.5, 203.0)}
    >>> rows = [Row(name, {"test": Estimate(accuracy, unit="%"), "bytes": Estimate(size, kind="counted", unit="kB")})
    ...         for name, (accuracy, size) in sizes.items()]
    >>> columns = Column("test", "Test accuracy", "%", 1, "high"), Column("bytes", "Deployed", "kB", 0, "low")
    >>> study = Study("Two networks", "", tuple(rows), columns)
    >>> print(recommend(study, {"max_bytes": "256kB", "min_accuracy": "90%"}))
    None of 2 models fits.
    Deployed at most 256 kB: 1 of 2 keep to it.
    Test accuracy at least 90.0 %: 1 of 2 keep to it.
    With one budget changed and the others as they are:
      Deployed at most 4,800 kB (4,544 kB more) would let float in.
      Test accuracy at least 88.5 % (1.5 points less) would let binary in.
    """
    budgets = read_budgets(table, limits)
    candidates = [Candidate(row, tuple(verdict(budget, row) for budget in budgets)) for row in table.rows]
    fitting = [each for each in candidates if not each.failing]
    return Recommendation(
        budgets,
        tuple(sorted(fitting, key=lambda each: (bool(each.uncertain), _loss(table, budgets, each)))),
        tuple(each for each in candidates if each.failing),
    )


def _loss(table: Table, budgets: tuple[Budget, ...], candidate: Candidate) -> tuple[float, ...]:
    """Returns what is sorted by: less accuracy comes later, then more leak, then more of the budgets' columns."""
    columns = [*columns_of(table, "accuracy")[:1], *columns_of(table, "leak"), *(budget.column for budget in budgets)]
    figures = [candidate.row.figures.get(column.key) for column in columns]
    signs = [-1.0 if better_end(column) == "high" else 1.0 for column in columns]
    values = [math.inf if f is None else sign * f.value for f, sign in zip(figures, signs, strict=True)]
    return tuple(math.inf if math.isnan(value) else value for value in values)


def _fitting(result: Recommendation) -> Iterator[str]:
    count, first = len(result.fitting), result.fitting[0]
    total = count + len(result.others)
    yield f"{count} of {total} models fit{'s' * (count == 1)}: {'; '.join(map(str, result.budgets))}."
    yield f"Take {first.row.name}: {', '.join(map(str, first.verdicts))}."
    yield from _doubt(first)
    if first.row.command:
        yield f"  {first.row.command}"
    if count > 1:
        yield "Next:"
    for each in result.fitting[1 : MAX_NAMED + 1]:
        yield f"  {each.row.name}: {', '.join(map(str, each.verdicts))}."
        yield from _doubt(each)
    if count > MAX_NAMED + 1:
        yield f"  and {count - MAX_NAMED - 1} more."
    yield from _caution(result)


def _doubt(candidate: Candidate) -> Iterator[str]:
    for each in candidate.uncertain:
        budget = each.budget
        yield (
            f"  Uncertain: the 95 % interval of its {budget.column.heading} reaches {budget.gap(each.worst_excess)} "
            f"past the budget of {budget.amount(budget.limit)}."
        )


def _failing(result: Recommendation) -> Iterator[str]:
    count = len(result.others)
    yield f"None of {count} models fits."
    for i, budget in enumerate(result.budgets):
        verdicts = {each.row.name: each.verdicts[i] for each in result.others}
        keeping = [name for name, each in verdicts.items() if each.excess == 0]
        if keeping:
            yield f"{budget}: {len(keeping)} of {count} keep to it."
            continue
        known = {name: each for name, each in verdicts.items() if each.figure is not None}
        if not known:
            yield f"{budget}: fails, because no model has such a figure."
            continue
        name = min(known, key=lambda name: known[name].excess)
        yield f"{budget}: fails; {name} misses it least, {_missed(known[name])}."
    changes = list(_changes(result))
    if changes:
        yield "With one budget changed and the others as they are:"
        yield from changes
    else:
        yield from _nearest(result)
    yield from _caution(result)


def _missed(each: Verdict) -> str:
    """Returns by how much a figure misses its budget: "by 9.2 kB (18 % of it)"; of rates the difference alone."""
    of_rates = each.budget.column.unit in ("", "%") or not each.budget.limit
    percent = math.inf if of_rates else 100 * each.excess / abs(each.budget.limit)
    share = f" ({number(percent, 0 if percent >= 10 else 1)} % of it)" if math.isfinite(percent) else ""
    return f"by {each.budget.gap(each.excess)}{share}"


def _changes(result: Recommendation) -> Iterator[str]:
    """Yields, for each budget, the least change of it alone that lets a model in."""
    for i, budget in enumerate(result.budgets):
        only = [each for each in result.others if [f.budget for f in each.failing] == [budget]]
        only = [each for each in only if each.verdicts[i].figure is not None]
        if only:
            best = min(only, key=lambda each: each.verdicts[i].excess)
            changed, word = budget.admitting(best.verdicts[i]), "more" if budget.sense == "low" else "less"
            gap = budget.gap(abs(changed.limit - budget.limit))
            yield f"  {changed} ({gap} {word}) would let {best.row.name} in."


def _nearest(result: Recommendation) -> Iterator[str]:
    """Yields the models that break the fewest budgets, if no change of a single one lets a model in."""
    known = [each for each in result.others if all(missed.figure is not None for missed in each.failing)]
    if not known:
        yield "No change of the budgets helps: every model lacks a figure that they need."
        return
    fewest = min(len(each.failing) for each in known)
    yield f"No change of one budget helps. Models that break only {fewest} of them:"
    nearest = [each for each in known if len(each.failing) == fewest]
    for each in nearest[:MAX_NEAREST]:
        broken = "; ".join(f"{missed.budget} {_missed(missed)}" for missed in each.failing)
        yield f"  {each.row.name} breaks {broken}."
    if len(nearest) > MAX_NEAREST:
        yield f"  and {len(nearest) - MAX_NEAREST} more."


def _caution(result: Recommendation) -> Iterator[str]:
    if any(role_of(budget.column.key) == "leak" for budget in result.budgets):
        yield LOWER_BOUND
