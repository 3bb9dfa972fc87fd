"""The attacks of an audit: which, on what each of them looks, and the best of several, chosen where it is honest.

An entry is an Attack; a factory of one that takes `population=` (`attacks.rmia`, `attacks.population_rank`), which is
built anew for each target, on that target's own signals of the population; or `best_of` several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gecko_jax import checks, metrics
from gecko_jax.attacks import ATTACKS, OF_THE_TARGET, SIGNALS, Attack
from gecko_jax.audit.readings import missing
from gecko_jax.types import Signals

STRONG = ("base", "lira", "lira_student", "rmia")  # the strongest of each kind, and quick
PROBING = ("label_only", "small_gradient")
OF_POPULATION = ("population_rank", "quantile_regression")
FAKES = 16  # shadows that play a target, in turn: of more, a choice hardly gains
RANKED_BY = {"auc": metrics.roc_auc, "tpr_at_1pct": lambda scores, member: metrics.tpr_at_fpr(scores, member, 0.01)}
NOBODY = Signals(np.zeros((0, 1)), np.zeros((0, 1), bool), np.zeros(1))  # a population to build an attack on, unread


class Seen(NamedTuple):
    """One signal of a target and of its shadows: a list of arrays, one for each query.

    Attributes:
      values: [s, n, ...] of the shadows, each.
      member: [s, n] bool.
      target: [n, ...] of the target, each. (Until `on` has chosen the target's records, the shadows have others.)
      population: [s, z, ...] and [z, ...] of records that nobody was trained on, of the first query alone; or None.
    """

    values: Sequence[np.ndarray]
    member: np.ndarray
    target: Sequence[np.ndarray]
    population: tuple[np.ndarray, np.ndarray] | None = None

    def as_target(self, k: int) -> Seen:
        """Shadow k in the target's place, and the others its shadows."""
        others = np.arange(len(self.member)) != k
        population = self.population and (self.population[0][others], self.population[0][k])
        values = [values[others] for values in self.values]
        return Seen(values, self.member[others], [values[k] for values in self.values], population)

    def on(self, rows) -> Seen:
        """With those of the shadows' records."""
        return self._replace(values=[values[:, rows] for values in self.values], member=self.member[:, rows])


@dataclass(frozen=True)
class Entry:
    """One attack as an audit runs it.

    Attributes:
      attack: itself; of a factory, one built on nobody, for its name and what it reads.
      make: Signals of the population -> the attack; None where it takes no population.
    """

    attack: Attack
    make: Callable[..., Attack] | None = None

    def __call__(self, seen: Seen) -> np.ndarray:
        """Scores [n] of the target."""
        queries = [Signals(v, seen.member, t) for v, t in zip(seen.values, seen.target, strict=True)]
        if self.make is None:
            return self.attack(queries if len(queries) > 1 else queries[0])
        if seen.population is None:
            raise ValueError(f"attack {self.attack.name!r} was given as a factory: pass population=, or call it.")
        values, target = seen.population
        return self.make(population=Signals(values, np.zeros(values.shape[:2], bool), target))(queries[0])


@dataclass(frozen=True)
class BestOf:
    """Several attacks as one: see `best_of`."""

    attacks: tuple[Attack, ...]
    metric: str = "auc"
    name: str = "best_of"


def best_of(attacks: Iterable[Attack], metric: str = "auc", name: str = "best_of") -> BestOf:
    """The one of several attacks that does best on the shadows, each a fake target: never chosen on the target.

    Args:
      attacks: two or more.
      metric: what is best, in the mean over fake targets: "auc" or "tpr_at_1pct".
      name: what a report calls it.

    Raises:
      ValueError: fewer than two attacks, or an unknown metric.
    """
    attacks = tuple(attacks)
    checks.at_least("number of attacks", len(attacks), 2)
    checks.one_of("metric", metric, RANKED_BY)
    return BestOf(attacks, metric, name)


class Choice(NamedTuple):
    """What an audit runs, under a name: one entry, or several of which one is chosen by `metric`."""

    name: str
    entries: tuple[Entry, ...]
    metric: str = "auc"

    @property
    def shadows(self) -> int:
        """The fewest it works with."""
        return max([entry.attack.shadows for entry in self.entries] + [2 * (len(self.entries) > 1)])

    @property
    def signals(self) -> set[str]:
        """What it reads."""
        return {entry.attack.signal for entry in self.entries}


def choose(
    attacks: Iterable | None, shadows: int, readable: Iterable[str] = (), population: bool = False
) -> list[Choice]:
    """The attacks asked for, or the usual ones for what there is.

    Args:
      attacks: entries, or None.
      shadows: how many shadow models a target has; a fake one has one fewer.
      readable: names of `attacks.PROBED` that are there, or can be read.
      population: whether there is one.

    Raises:
      ValueError: what is no attack, one that needs more than there is, or two of one name.
    """
    readable, left = set(readable), max(shadows - 1, 0)
    if attacks is None:
        usual = (*OF_THE_TARGET, *PROBING, *STRONG)
        listed = [_choice(ATTACKS[name]()) for name in usual]
        listed += [_choice(ATTACKS[name]) for name in OF_POPULATION if population]
        able = [one for one in listed if one.shadows <= left and one.signals <= readable | set(SIGNALS)]
        return able
    if not isinstance(attacks, Iterable):
        raise ValueError(f"attacks={attacks!r} must be a list, also of one: attacks=[attacks.loss()].")
    chosen = [_choice(attack) for attack in checks.not_empty("attacks", list(attacks))]
    for one in chosen:
        for entry in one.entries:
            if entry.attack.signal not in readable | set(SIGNALS):
                raise ValueError(
                    f"attack {entry.attack.name!r} reads {entry.attack.signal!r}, which is not there; it comes from "
                    f"{missing(entry.attack.signal)}."
                )
            if entry.make and not population:
                raise ValueError(f"attack {entry.attack.name!r} was given as a factory: pass population=, or call it.")
        if one.shadows > left:
            raise ValueError(
                f"attack {one.name!r} needs {one.shadows} shadow models and would have {left}; "
                "give more models, or leave it out. (A shadow that plays the target leaves one fewer.)"
            )
    names = [one.name for one in chosen]
    if len(set(names)) < len(names):
        raise ValueError(f"attacks has names {names}; each must stand once, for a report is keyed by them.")
    return chosen


def _choice(given) -> Choice:
    if isinstance(given, BestOf):
        return Choice(given.name, tuple(_entry(one) for one in given.attacks), given.metric)
    entry = _entry(given)
    return Choice(entry.attack.name, (entry,))


def _entry(given) -> Entry:
    if isinstance(given, Attack):
        return Entry(given)
    try:
        built = given(population=NOBODY)
    except TypeError:
        built = None
    if not isinstance(built, Attack):
        raise ValueError(
            f"attacks holds {given!r}; expected an Attack, for example gecko_jax.attacks.loss(), or a factory of one "
            "that takes population=."
        )
    return Entry(built, given)
