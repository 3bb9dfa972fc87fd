"""Which of the chosen attacks the records and the outputs allow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gecko_jax.audit.reading import outputs
from gecko_jax.audit.reading.layouts import layout_of
from gecko_jax.audit.reading.reader import Asker
from gecko_jax.audit.scoring.selection import Choice


def of_outputs(chosen: Sequence[Choice], kind: str, asked: bool) -> tuple[list[Choice], list[str]]:
    """Returns the choices that outputs of a kind allow, and notes about the others.

    Raises:
      ValueError: an attack that was asked for by name and reads more than labels, where labels are all there is.
    """
    if kind != "labels":
        return list(chosen), []
    able = [choice for choice in chosen if choice.signals <= set(outputs.OF_LABELS)]
    rest = [choice for choice in chosen if choice not in able]
    if asked:
        for choice in rest:
            for entry in choice.entries:
                outputs.check_reads_labels(entry.attack, choice.name)
    names = ", ".join(choice.name for choice in rest)
    return able, [left_out(names, "they read more than the model gives, labels alone")] if rest else []


def left_out(name: str, why: str) -> str:
    """Returns a note about attacks that nobody asked for and that cannot be run."""
    return f"left out: {name} ({why.rstrip('.')})"


def feasible(chosen: list[Choice], asker: Asker, asked: bool, notes: list[str]) -> list[Choice]:
    """The choices that these records and outputs allow; notes say which they do not.

    Raises:
      ValueError: one that was asked for by name.
    """
    able, by_reason = [], {}
    for choice in chosen:
        why = next(filter(None, map(asker.hindrance, sorted(choice.signals))), "")
        if why and asked:
            raise ValueError(f"attack {choice.name!r} {why}.")
        if why:
            labels = asker.outputs == "labels" and not choice.signals <= set(outputs.OF_LABELS)
            reason = "they read more than predict gives, labels alone" if labels else f"it {why}"
            by_reason.setdefault(reason, []).append(choice.name)
        else:
            able.append(choice)
    notes += [left_out(", ".join(names), why) for why, names in by_reason.items()]
    if any("label_robustness" in choice.signals for choice in able) and asker.layout is None and (
        np.ndim(asker.like) == 4 and layout_of(asker.like.shape) == "channels_first"):  # fmt: skip
        notes.append(f"x of shape {asker.like.shape} is taken for images with their channels first; layout= says else")
    return able
