"""Which of the planned attacks the records and the outputs allow."""

from __future__ import annotations

import numpy as np

from gecko_jax.attacks import Attack
from gecko_jax.audit.reading.model_reader import ModelReader
from gecko_jax.audit.scoring.attack_plan import AttackPlan, left_out
from gecko_jax.audit.scoring.selection import Choice
from gecko_jax.probes.layouts import layout_of
from gecko_jax.signals import label_robustness


def of_outputs(plan: AttackPlan, kind: str) -> AttackPlan:
    """Returns the plan with the attacks that outputs of a kind allow, and notes about the others.

    Raises:
      ValueError: an attack that was asked for by name and reads more than labels, if there are only labels.
    """
    if kind != "labels":
        return plan
    able = [choice for choice in plan.choices if _reads_labels(choice)]
    rest = [choice for choice in plan.choices if choice not in able]
    if not rest:
        return plan
    if plan.by_name:
        for choice in rest:
            for attack in choice.attacks:
                _check_reads_labels(attack, choice.name)
    names = ", ".join(choice.name for choice in rest)
    note = left_out(names, "they read more than the model gives, labels alone")
    return plan._replace(choices=able, notes=[*plan.notes, note])


def _check_reads_labels(attack: Attack, name: str) -> None:
    """Raises ValueError for an attack that reads more than predicted labels."""
    if attack.signal.outputs != "labels":
        raise ValueError(
            f"attack {name!r} reads {attack.signal.name!r}, and the model gives labels alone: leave it out, or give "
            "its probabilities. By labels: gap, label_only, boundary."
        )


def _reads_labels(choice: Choice) -> bool:
    return all(signal.outputs == "labels" for signal in choice.signals)


def feasible(plan: AttackPlan, reader: ModelReader) -> AttackPlan:
    """Returns the plan with the attacks that these records and outputs allow; notes say which they do not.

    Raises:
      ValueError: one that was asked for by name.
    """
    able, by_reason = [], {}
    for choice in plan.choices:
        why = next(filter(None, map(reader.hindrance, sorted(choice.signals, key=lambda one: one.name))), "")
        if why and plan.by_name:
            raise ValueError(f"attack {choice.name!r} {why}.")
        if why:
            labels = reader.outputs == "labels" and not _reads_labels(choice)
            reason = "they read more than predict gives, labels alone" if labels else f"it {why}"
            by_reason.setdefault(reason, []).append(choice.name)
        else:
            able.append(choice)
    notes = [left_out(", ".join(names), why) for why, names in by_reason.items()]
    shape = np.shape(reader.reference_inputs)
    moved = reader.layout is None and any(label_robustness in choice.signals for choice in able)
    if moved and len(shape) == 4 and layout_of(shape) == "channels_first":
        notes.append(f"Records of shape {shape} are taken for images, channels first; layout= says otherwise.")
    return plan._replace(choices=able, notes=[*plan.notes, *notes])
