"""Runs the chosen attacks on every target: scores, and thresholds that never see the records they are judged on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from gecko_jax.audit.scoring import thresholds
from gecko_jax.audit.scoring.attack_plan import AttackPlan, left_out
from gecko_jax.audit.scoring.selection import Choice, Entry, Seen


class Comparison(NamedTuple):
    """One target beside its shadow models, as attacks see them.

    Attributes:
      audited: name of a signal -> its values on the audited records.
      reference: name of a signal -> its values on the records that thresholds are chosen on; None without shadows.
      reference_y: [p] labels of those records; None without shadows.
    """

    audited: Callable[[str], Seen]
    reference: Callable[[str], Seen] | None = None
    reference_y: np.ndarray | None = None


class AttackResults(NamedTuple):
    """What the attacks said of m targets.

    Attributes:
      scores: attack -> m times [n].
      thresholds: attack -> m times [n], not chosen on these records.
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
      member: [m, n] bool. It is read where there are no shadows, by halves of the records.

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
        entries, scores, bounds = (list(part) for part in zip(*parts, strict=True))
        if len(choice.entries) > 1:
            results.notes.append(_which_one(choice, [entry.attack.name for entry in entries]))
        results.scores[choice.name], results.thresholds[choice.name] = scores, bounds
        results.needs[choice.name] = choice.needs
    return results


def _attack(
    choice: Choice, comparison: Comparison, member: np.ndarray, y: np.ndarray
) -> tuple[Entry, np.ndarray, np.ndarray]:
    """(the entry that attacks one target, its scores [n], its thresholds [n])."""
    if comparison.reference is None:
        (entry,) = choice.entries  # of several one is chosen on shadows
        scores = entry(comparison.audited(entry.attack.signal))
        return entry, scores, thresholds.split_half(entry.attack, scores, member, y)
    seen = {signal: comparison.reference(signal) for signal in choice.signals}
    entry, threshold = thresholds.on_shadows(choice, seen, comparison.reference_y, y)
    return entry, entry(comparison.audited(entry.attack.signal)), threshold


def _which_one(choice: Choice, entries: list[str]) -> str:
    """A note about the attack that `best_of` chose."""
    if len(entries) == 1:
        return f"{choice.name} is {entries[0]}, chosen on the shadows by {choice.metric}"
    times = ", ".join(f"{name} for {entries.count(name)}" for name in sorted(set(entries)))
    return f"{choice.name}, chosen on the shadows by {choice.metric}: {times} of {len(entries)} targets"
