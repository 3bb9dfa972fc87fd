"""What a signal is: a named number, or several, that an attacker reads off a model for each record."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gecko_jax import checks
from gecko_jax.types import Array

LARGER = ("members", "nonmembers", "neither")
OUTPUTS = ("labels", "classes", "tokens", "numbers")
# What a signal may need beside outputs and labels, and where that comes from.
NEEDS = {
    "queries": "audit(predict, ...), which asks the model about other inputs",
    "records": "audit(predict, ...), which has the records",
    "references": "audit.from_signals(..., references={'pretrained': {'loss': values}})",
    "activations": "audit.audit_models(..., probed={'activation_profile': signals.profile_of_activation(...)})",
    "exits": "audit.audit_models(..., probed={'exit_posteriors': signals.posteriors_and_exit(...)})",
    "text": "audit.from_signals, of what gecko_jax.probes.language_signals reads off a language model",
    "gradients": "audit(model, ..., variables=...) with a gecko_jax Model, whose gradients can be read",
}


@dataclass(frozen=True)
class Signal:
    """A signal: what an attacker reads off a model, for each record.

    Calling it reads it: (outputs, y) -> values [..., n, *axes], float64.

    Attributes:
      name: how tables, files and reports name it.
      read: (outputs, labels y) -> values. The outputs have leading axes of models, and one axis of records n. None if
        outputs do not suffice; `gecko_jax.probes.READERS` then holds what asks the model itself, or `needs` says what
        else takes it.
      axes: names of the axes that one record has: () for a number.
      larger: who has the larger values: "members", "nonmembers", or "neither" if its components point no one way.
      needs: what it takes beside outputs and labels, of `NEEDS`; () for a function of these two.
      outputs: the outputs that it reads, with their labels y:
        "classes": logits [..., n, c], y [n] in 0..c-1;
        "labels": the same, of which the predicted label alone is read, so that predicted labels suffice;
        "tokens": logits [..., n, t, v], y [n, t] in 0..v-1, negative where a sequence has ended;
        "numbers": predictions [..., n, *shape], y [n, *shape].
      bounds: the smallest and the largest value that it can have; saved values beyond them are refused.
      stands_for: names of the signals that it replaces, in listed attacks, on outputs that those cannot read.

    >>> Signal("margin", lambda z, y: np.asarray(z)[..., 0], larger="members")([[2.0, 1.0]], [0]).tolist()
    [2.0]
    """

    name: str
    read: Callable[[Array, Array], np.ndarray] | None = None
    axes: tuple[str, ...] = ()
    larger: str = "members"
    needs: tuple[str, ...] = ()
    outputs: str = "classes"
    stands_for: tuple[str, ...] = ()
    bounds: tuple[float, float] = (-math.inf, math.inf)

    def __post_init__(self):
        checks.one_of(f"larger of signal {self.name!r}", self.larger, LARGER)
        checks.one_of(f"outputs of signal {self.name!r}", self.outputs, OUTPUTS)
        if isinstance(self.needs, str) or isinstance(self.axes, str) or isinstance(self.stands_for, str):
            raise ValueError(f"axes, needs and stands_for of signal {self.name!r} must be tuples of names, not a str.")
        for need in self.needs:
            checks.one_of(f"needs of signal {self.name!r}", need, NEEDS)

    def __call__(self, outputs: Array, y: Array) -> np.ndarray:
        """Returns the values [..., n, *axes].

        Raises:
          ValueError: a signal that outputs do not suffice for, or outputs and labels that it cannot read.
        """
        if self.read is None:
            raise ValueError(f"signal {self.name!r} is not a function of outputs; it comes from {self.source}.")
        return self.read(outputs, y)

    @property
    def source(self) -> str:
        """Describes in words where the signal's values come from: an audit of the model, or which outputs.

        >>> Signal("margin", lambda z, y: np.asarray(z)[..., 0]).source
        "a classifier's logits or probabilities"
        """
        if self.needs:
            return " and ".join(NEEDS[need] for need in self.needs)
        if self.read is None:
            return f"values of your own: audit.from_signals({{{self.name!r}: values}}, ...)"
        return SOURCES[self.outputs]


SOURCES = {
    "labels": "a classifier's logits, probabilities or predicted labels",
    "classes": "a classifier's logits or probabilities",
    "tokens": "a language model's logits (records, tokens, vocabulary)",
    "numbers": "a regression's predictions",
}


def check_signal(name: str, signal: Signal) -> Signal:
    """Returns `signal`, or raises ValueError if it is not a Signal.

    Args:
      name: the argument's name, which the message shows.
      signal: what is checked.

    >>> check_signal("signal", "loss")
    Traceback (most recent call last):
    ...
    ValueError: signal='loss' is a name; expected a Signal, for example gecko_jax.signals.loss.
    """
    if isinstance(signal, Signal):
        return signal
    what = "a name" if isinstance(signal, str) else f"a {type(signal).__name__}"
    raise ValueError(f"{name}={signal!r} is {what}; expected a Signal, for example gecko_jax.signals.loss.")
