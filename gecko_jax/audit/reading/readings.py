"""What was read off one model, or off several, on n records: everything that attacks see of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.probes.outputs import as_logits, labels_as_logits
from gecko_jax.signals import SIGNALS, Signal
from gecko_jax.types import Array

OF_CLASSES = ("classes", "labels")  # what a classifier's outputs suffice for, see `Signal.outputs`


class Available(NamedTuple):
    """The signals that are there, or can be read: `signal in available`.

    Attributes:
      outputs: kinds of outputs that there are, of `Signal.outputs`.
      names: of further signals, which were read off the model or can be.
      own: signals of a caller's own, which are not listed; attacks may read them in the place of others.
    """

    outputs: Collection[str] = OF_CLASSES
    names: Collection[str] = ()
    own: Collection[Signal] = ()

    def __contains__(self, signal: Signal) -> bool:
        saved = signal.name in self.names or signal in self.own
        return saved or (signal.read is not None and signal.outputs in self.outputs)


class Readings(NamedTuple):
    """What was read off models.

    Attributes:
      logits: [..., n, c], of the records as they are; None if values of signals are all there is.
      queries: further logits of the same shape, one array for each moved copy of the records.
      probed: name of a signal -> [..., n, *axes]: of those that need the model, and of those that a caller saved.
      own: signals among them that are not listed.
    """

    logits: np.ndarray | None
    queries: tuple[np.ndarray, ...] = ()
    probed: Mapping[str, np.ndarray] = {}
    own: tuple[Signal, ...] = ()

    @property
    def available(self) -> Available:
        """Returns the signals that these readings suffice for."""
        return Available(() if self.logits is None else OF_CLASSES, tuple(self.probed), self.own)

    def signal(self, signal: Signal, y: np.ndarray) -> list[np.ndarray]:
        """Returns values [..., n, *axes] of a signal: one array for each query, the records themselves first.

        Raises:
          ValueError: a signal that was not read.
        """
        if signal.name in self.probed:
            return [self.probed[signal.name]]
        if signal not in self.available:
            raise ValueError(f"signal {signal.name!r} was not read off the model; it comes from {signal.source}.")
        return [signal(logits, y) for logits in (self.logits, *self.queries)]

    def rows(self, index: Any) -> Readings:
        """Returns those of some records: the axis before the classes."""
        axis = self.logits.ndim - 2
        return self._map(lambda values: np.take(values, index, axis))

    def models(self, index: Any) -> Readings:
        """Returns those of some models: the first axis."""
        return self._map(lambda values: values[index])

    def _map(self, function) -> Readings:
        return Readings(
            None if self.logits is None else function(self.logits),
            tuple(function(logits) for logits in self.queries),
            {name: function(values) for name, values in self.probed.items()},
            self.own,
        )


def stacked(readings: list[Readings]) -> Readings:
    """Returns the readings of several models as one, with a leading axis."""
    return Readings(
        np.stack([one.logits for one in readings]),
        tuple(np.stack(parts) for parts in zip(*(one.queries for one in readings), strict=True)),
        {
            name: np.stack([one.probed[name] for one in readings])
            for name in readings[0].probed
            if all(name in one.probed for one in readings)  # what could not be read off one of them is left out
        },
    )


def checked(
    logits: Array,
    queries: Any = (),
    probed: Mapping[str, Array] | None = None,
    outputs: str = "logits",
    classes: int | None = None,
) -> Readings:
    """Returns readings of arrays that a caller gives.

    Args:
      logits: [..., n, c]; or predicted labels [..., n], class numbers, of which there are `classes`.
      queries: further arrays of the same shape.
      probed: name of a listed signal that needs the model -> values [..., n, *axes].
      outputs: what `logits` holds, "logits", "probabilities" or "labels".
      classes: how many classes there are, if `outputs` is "labels".

    Raises:
      ValueError: outputs that are not what they are said to be, shapes that differ, an unknown signal, NaN.
    """
    if outputs == "labels":
        logits, *further = (labels_as_logits("labels", one, classes) for one in (logits, *queries))
    else:
        logits = as_logits(outputs, logits, outputs)
        further = [as_logits(f"queries[{i}]", one, outputs) for i, one in enumerate(queries)]
    for i, one in enumerate(further):
        checks.shape(f"queries[{i}]", one, logits.shape)
    values = {name: _given(name, array, logits.shape[:-1]) for name, array in (probed or {}).items()}
    return Readings(logits, tuple(further), values)


def _given(name: str, array: Array, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a caller's values of a signal that needs the model, checked."""
    signal = checks.lookup("signal of probed", name, {one.name: one for one in SIGNALS.values() if one.needs})
    values = checks.shape(f"probed[{name!r}]", np.asarray(array), (*shape, *[None] * len(signal.axes)))
    if np.isnan(values).any():
        raise ValueError(f"probed[{name!r}] holds {int(np.isnan(values).sum())} NaN of {values.size} entries.")
    return values
