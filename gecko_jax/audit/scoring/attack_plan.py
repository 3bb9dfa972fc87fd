"""Which attacks an audit runs, decided once for every way in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gecko_jax import checks
from gecko_jax.attacks import ATTACKS
from gecko_jax.audit.reading.readings import Available
from gecko_jax.audit.scoring.selection import Choice, as_list, by_name, select_attacks, why_not_run
from gecko_jax.signals import Signal


class AttackPlan(NamedTuple):
    """Which attacks an audit runs, decided once.

    Attributes:
      choices: what to run.
      by_name: whether the caller named them. Then an error of one ends the audit; else it is left out, with a note.
      not_run: listed attack -> why it is not among them.
      notes: in words, what else a reader should know about the choice.
    """

    choices: Sequence[Choice]
    by_name: bool = True
    not_run: Mapping[str, str] = {}
    notes: Sequence[str] = ()

    @property
    def signals(self) -> set[Signal]:
        """Returns the signals that the attacks read."""
        return set().union(*(choice.signals for choice in self.choices))

    def without(self, errors: Mapping[Signal, str]) -> AttackPlan:
        """Returns the plan without the attacks that read a signal which could not be read: signal -> its error."""
        pairs = [(each, signal) for each in self.choices for signal in errors if signal in each.signals]
        notes = [left_out(each.name, errors[signal]) for each, signal in pairs]
        choices = [each for each in self.choices if not each.signals & set(errors)]
        return self._replace(choices=choices, notes=[*self.notes, *notes])


def plan_attacks(
    attacks: Iterable | str | None, shadows: int, available: Available, population: bool = False
) -> AttackPlan:
    """Returns the attacks asked for, or all that are listed and can run on what there is; see `select_attacks`.

    Args:
      attacks: Attacks, names of listed ones, or `best_of` several; None for the listed ones, "all" with the slow ones.
      shadows: how many shadow models a target has.
      available: the signals that are there, or can be read.
      population: whether there is one.
    """
    attacks = as_list(attacks)
    choices = select_attacks(attacks, shadows, available, population)
    names = [choice.name for choice in choices]
    why = why_not_run(attacks, shadows, available, population, names)
    return AttackPlan(choices, by_name(attacks), why, _replaced_signals(choices))


def check_attacks(attacks: Iterable | str | None, models: int) -> None:
    """Raises ValueError for attacks that `audit_models` would refuse of a number of classifiers; nothing is run.

    For a caller who trains first and audits afterwards.

    Args:
      attacks: as of `audit_models`; a list, because an iterator would be used up here.
      models: how many there are, each a target with the others as shadows.

    >>> check_attacks(["loss", "lira"], models=4)
    >>> check_attacks(["los"], models=4)
    Traceback (most recent call last):
    ...
    ValueError: attack='los' is not known. Did you mean 'loss'? ...
    """
    plan_attacks(attacks, checks.at_least("models", models, 2) - 1, Available())


def _replaced_signals(choices: Sequence[Choice]) -> list[str]:
    """Returns notes about listed attacks whose usual signal is not there, and which one they read instead."""
    replaced: dict[str, list[str]] = {}
    for choice in choices:
        (attack, *_) = choice.attacks
        if choice.name in ATTACKS and attack.signal != (usual := ATTACKS[choice.name]().signal):
            replaced.setdefault(attack.signal.name, []).append(f"{choice.name} (usually {usual.name})")
    return [
        f"In place of signals that were not given, {signal} is read by {checks.listed(names, len(ATTACKS))}."
        for signal, names in replaced.items()
    ]


def left_out(name: str, why: str) -> str:
    """Returns a note about attacks that nobody asked for and that cannot be run."""
    return f"Left out: {name} ({why.rstrip('.')})."
