"""The attacks of an audit: which, on what each of them looks, and the best of several, chosen where it is honest.

Unless a caller names some, an audit runs every attack of `attacks.ATTACKS` whose needs are met, and says of each other
one why it did not run (`not_run`).

An entry is an Attack; a factory of one that takes `population=` (`attacks.rmia`, `attacks.population_rank`), which is
built anew for each target, on that target's own signals of the population; or `best_of` several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks, metrics
from gecko_jax.attacks import ATTACKS, SIGNALS, Attack
from gecko_jax.attacks.signals import NEEDS
from gecko_jax.audit.reading.readings import missing
from gecko_jax.types import Signals

ALL = "all"  # in place of a list: the slow attacks as well
SLOW = 'it is slow, and was not asked for by name or by attacks="all"'
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

    @property
    def needs(self) -> tuple[str, ...]:
        """What one of its attacks needs, or another (see `Attack.needs`), and "population" for a factory."""
        needs = [need for entry in self.entries for need in (*entry.attack.needs, *["population"] * bool(entry.make))]
        return tuple(dict.fromkeys(needs))


def choose(
    attacks: Iterable | str | None, shadows: int, readable: Iterable[str] = (), population: bool = False
) -> list[Choice]:
    """The attacks asked for, or all that are listed and can run on what there is.

    Args:
      attacks: entries; or None, for the listed ones that are not slow; or "all", for these as well.
      shadows: how many shadow models a target has; a fake one has one fewer.
      readable: names of `attacks.PROBED` that are there, or can be read.
      population: whether there is one.

    Raises:
      ValueError: what is no attack, one that needs more than there is, or two of one name.
    """
    readable, left = set(readable), max(shadows - 1, 0)
    if attacks is None or (isinstance(attacks, str) and attacks == ALL):
        why = not_run(attacks, shadows, readable, population)
        return [_listed(name, population) for name in ATTACKS if name not in why]
    if not isinstance(attacks, Iterable) or isinstance(attacks, str):
        raise ValueError(f'attacks={attacks!r} must be a list, also of one: attacks=[attacks.loss()]; or "all".')
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
        twice = checks.listed(sorted({name for name in names if names.count(name) > 1}))
        raise ValueError(f"attacks holds {twice} more than once; a report is keyed by names, so each must stand once.")
    return chosen


def as_list(attacks: Any) -> Any:
    """A list of what is iterated over more than once; None, "all" and what is no list as they are."""
    return list(attacks) if isinstance(attacks, Iterable) and not isinstance(attacks, str) else attacks


def by_name(attacks: Any) -> bool:
    """Whether a caller named the attacks, so that none of them may be left out."""
    return attacks is not None and not isinstance(attacks, str)


def not_run(
    attacks: Iterable | str | None,
    shadows: int,
    readable: Iterable[str] = (),
    population: bool = False,
    ran: Iterable[str] = (),
) -> dict[str, str]:
    """The attacks of `attacks.ATTACKS` that `choose` with the same arguments leaves out: name -> why, in words.

    `ran` are the names of those that a list in `attacks` asked for.
    """
    if by_name(attacks):
        return {name: "attacks= does not name it" for name in ATTACKS if name not in set(ran)}
    left, why = max(shadows - 1, 0), {}
    for name in ATTACKS:
        one = _listed(name, population)
        lacking = one.signals - set(readable) - set(SIGNALS)
        if one.entries[0].attack.slow and attacks is None:
            why[name] = SLOW
        elif one.shadows > left:
            own = f"{shadows}, one of which plays the target in turn" if shadows else "none"
            why[name] = f"it needs shadow models, {one.shadows + 1} or more, and there are {own}"
        elif lacking:
            why[name] = f"it needs {NEEDS[min(lacking)]}, from {missing(min(lacking))}"
    return why


def because(why: Mapping[str, str]) -> list[str]:
    """`not_run` as sentences, one for each reason.

    >>> because({"lira": "it needs shadows", "rmia": "it needs shadows"})
    ['Not run: lira, rmia (it needs shadows).']
    """
    reasons = {reason: [name for name, each in why.items() if each == reason] for reason in why.values()}
    return [f"Not run: {checks.listed(names, len(ATTACKS))} ({reason})." for reason, names in reasons.items()]


def _listed(name: str, population: bool) -> Choice:
    """A listed attack; built on each target's population if there is one and it stands in for shadow models."""
    alone, factory = _choice(ATTACKS[name]()), None
    if population:
        try:
            factory = _choice(ATTACKS[name])
        except ValueError:  # it takes no population
            return alone
    return factory if factory and factory.shadows < alone.shadows else alone


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
