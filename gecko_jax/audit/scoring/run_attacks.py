"""Runs the chosen attacks on every target: scores, and thresholds, which do not see the records they are judged on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from gecko_jax.attacks import Attack
from gecko_jax.audit.reading.ensemble_signals import EnsembleSignals
from gecko_jax.audit.scoring import thresholds
from gecko_jax.audit.scoring.attack_plan import AttackPlan, left_out
from gecko_jax.audit.scoring.selection import Choice
from gecko_jax.signals import Signal
from gecko_jax.types import Signals

TOLD = "is the mean score of the target's own members, which its attacker is told."


class Comparison(NamedTuple):
    """One target beside its shadow models, as attacks see them.

    Attributes:
      audited: maps a signal to what attacks read of the audited records, one Signals a query.
      reference: a signal -> the shadows' values on the records that thresholds are chosen on; None without shadows.
      reference_y: [p] labels of those records; None without shadows.
    """

    audited: Callable[[Signal], list[Signals]]
    reference: Callable[[Signal], EnsembleSignals] | None = None
    reference_y: np.ndarray | None = None


class AttackResults(NamedTuple):
    """The results of attacks on m targets.

    Attributes:
      scores: attack -> m times [n].
      thresholds: attack -> m times [n], not chosen on these records (but see `thresholds.told`).
      needs: attack -> what it needs beside outputs and labels (`Attack.needs`).
      notes: in words: which attack was chosen of several, which was left out.
    """

    scores: dict[str, list[np.ndarray]]
    thresholds: dict[str, list[np.ndarray]]
    needs: dict[str, tuple[str, ...]]
    notes: list[str]


def run_attacks(
    plan: AttackPlan, comparisons: Sequence[Comparison], y: np.ndarray, member: np.ndarray
) -> AttackResults:
    """Runs every chosen attack on every target.

    Args:
      plan: what to run.
      comparisons: m targets.
      y: [n] labels that thresholds may be chosen apart for.
      member: [m, n] bool. Read only without shadows, by halves of the records, and for attacks that are told a figure
        of the members.

    Raises:
      ValueError, ArithmeticError: of an attack that was asked for by name, or of the last one if no other ran.
    """
    results = AttackResults({}, {}, {}, list(plan.notes))
    for choice in plan.choices:
        try:
            parts = [_attack(choice, *each, y) for each in zip(comparisons, member, strict=True)]
        except (ValueError, ArithmeticError) as error:
            if plan.by_name or (choice is plan.choices[-1] and not results.scores):
                raise
            results.notes.append(left_out(choice.name, str(error)))
            continue
        chosen, scores, bounds = (list(part) for part in zip(*parts, strict=True))
        if any(attack.told_threshold for attack in chosen):
            results.notes.append(f"The threshold of {choice.name} {TOLD}")
        if len(choice.attacks) > 1:
            results.notes.append(_which_one(choice, [attack.name for attack in chosen]))
        results.scores[choice.name], results.thresholds[choice.name] = scores, bounds
        results.needs[choice.name] = choice.needs
    return results


def _attack(
    choice: Choice, comparison: Comparison, member: np.ndarray, y: np.ndarray
) -> tuple[Attack, np.ndarray, np.ndarray]:
    """Returns (the attack on one target, its scores [n], its thresholds [n])."""
    threshold = None
    if comparison.reference is not None and comparison.reference_y is not None:
        shadows = {signal: comparison.reference(signal) for signal in choice.signals}
        attack, threshold = thresholds.on_shadows(choice, shadows, comparison.reference_y, y)
    else:
        (attack,) = choice.attacks  # of several one is chosen on shadows
    scores = attack(comparison.audited(attack.signal))
    if attack.told_threshold:
        threshold = thresholds.told(attack, scores, member, y)
    elif threshold is None:
        threshold = thresholds.split_half(attack, scores, member, y)
    return attack, scores, threshold


def _which_one(choice: Choice, names: list[str]) -> str:
    """Returns a note about the attack that `best_of` chose for each target."""
    if len(names) == 1:
        return f"Chosen on the shadows by {choice.metric}: {choice.name} is {names[0]}."
    times = ", ".join(f"{name} for {names.count(name)}" for name in sorted(set(names)))
    return f"Chosen on the shadows by {choice.metric}: {choice.name} is {times} of {len(names)} targets."
