"""What was read off one model, or off several, on n records: everything that attacks see of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.probes.outputs import as_logits, labels_as_logits
from gecko_jax.signals import SIGNALS, Signal, sequence_loss, squared_error
from gecko_jax.types import Array

LOSS_OF_KIND = {"tokens": sequence_loss, "numbers": squared_error}
OF_CLASSES = ("classes", "labels")  # kinds of `Signal.outputs` that a classifier's outputs suffice for


class Available(NamedTuple):
    """The signals that are there, or can be read: `signal in available`.

    Attributes:
      outputs: kinds of outputs that there are, of `Signal.outputs`.
      names: of further signals, which were read off the model or can be.
      own: signals of a caller's own, which are not listed; attacks may read them instead of others.
    """

    outputs: Collection[str] = OF_CLASSES
    names: Collection[str] = ()
    own: Collection[Signal] = ()

    def __contains__(self, signal: Signal) -> bool:
        readable = signal.read is not None and signal.outputs in self.outputs
        return readable or signal.name in self.names or signal in self.own


class Readings(NamedTuple):
    """What was read off models.

    Attributes:
      outputs: [..., n, ...], of the records as they are; None if only values of signals are there.
      queries: further outputs of the same shape, one array for each moved copy of the records.
      values: name of a signal that was not read off the outputs -> [..., n, *axes].
      own: signals among the values that are not listed.
      kind: "classes" if the outputs are logits [..., n, c], "tokens" if [..., n, t, v], "numbers" if predictions.
    """

    outputs: np.ndarray | None
    queries: tuple[np.ndarray, ...] = ()
    values: Mapping[str, np.ndarray] = {}
    own: tuple[Signal, ...] = ()
    kind: str = "classes"

    def model_outputs(self) -> np.ndarray:
        """Returns the outputs, or raises ValueError if only values of signals are there.

        >>> Readings(None, values={"loss": np.zeros(2)}).model_outputs()
        Traceback (most recent call last):
        ...
        ValueError: these readings hold values of signals (loss) and no outputs; read the model's outputs as well.
        """
        if self.outputs is None:
            raise ValueError(
                f"these readings hold values of signals ({', '.join(self.values)}) and no outputs; read the model's "
                "outputs as well."
            )
        return self.outputs

    @property
    def logits(self) -> np.ndarray | None:
        """Returns a classifier's logits [..., n, c]; None for other outputs."""
        return self.outputs if self.kind == "classes" else None

    @property
    def available(self) -> Available:
        """Returns the signals that these readings suffice for."""
        if self.outputs is None:
            return Available((), tuple(self.values), self.own)
        return Available(OF_CLASSES if self.kind == "classes" else (self.kind,), tuple(self.values), self.own)

    def signal(self, signal: Signal, y: Array | None) -> list[np.ndarray]:
        """Returns values [..., n, *axes] of a signal: one array for each query, the records themselves first.

        Args:
          signal: what an attack reads.
          y: labels [n, ...], which signals of outputs read; None suffices for values.

        Raises:
          ValueError: a signal that was not read.

        >>> Readings(np.array([[3.0, 1.0]])).signal(SIGNALS["phi"], np.array([0]))[0].tolist()
        [2.0]
        """
        if signal.name in self.values:
            return [self.values[signal.name]]
        if signal not in self.available or y is None:
            raise ValueError(f"signal {signal.name!r} was not read off the model; it comes from {signal.source}.")
        return [signal(outputs, y) for outputs in (self.model_outputs(), *self.queries)]

    @property
    def loss_signal(self) -> Signal | None:
        """Returns the first signal that is there and is a loss; None if there is none."""
        losses = (one for one in (*SIGNALS.values(), *self.own) if one.name == "loss" or "loss" in one.stands_for)
        return next((one for one in losses if one in self.available), None)

    def rows(self, index: Any) -> Readings:
        """Returns those of some records, of several models [m, n, ...]: the second axis."""
        return self._map(lambda values: np.take(values, index, 1))

    def models(self, index: Any) -> Readings:
        """Returns those of some models [m, n, ...]: the first axis."""
        return self._map(lambda values: values[index])

    def _map(self, function: Callable[[np.ndarray], np.ndarray]) -> Readings:
        return Readings(
            None if self.outputs is None else function(self.outputs),
            tuple(map(function, self.queries)),
            {name: function(values) for name, values in self.values.items()},
            self.own,
            self.kind,
        )


def stacked(readings: list[Readings]) -> Readings:
    """Returns the readings of several models as one, with a leading axis."""
    return Readings(
        None if readings[0].outputs is None else np.stack([one.model_outputs() for one in readings]),
        tuple(np.stack(parts) for parts in zip(*(one.queries for one in readings), strict=True)),
        {
            name: np.stack([one.values[name] for one in readings])
            for name in readings[0].values
            if all(name in one.values for one in readings)  # what could not be read off one of them is left out
        },
        readings[0].own,
        readings[0].kind,
    )


def class_readings(
    outputs: Array,
    queries: Any = (),
    probed: Mapping[str, Array] | None = None,
    kind: str = "logits",
    classes: int = 0,
) -> Readings:
    """Returns readings of a classifier's outputs that a caller gives.

    Args:
      outputs: [..., n, c]; or predicted labels [..., n], class numbers, of which there are `classes`.
      queries: further arrays of the same shape.
      probed: name of a listed signal that needs the model -> values [..., n, *axes].
      kind: what `outputs` holds, "logits", "probabilities" or "labels".
      classes: how many classes there are, if these are labels.

    Raises:
      ValueError: outputs that are not what they are said to be, shapes that differ, an unknown signal, NaN.
    """
    if kind == "labels":
        logits, *further = (labels_as_logits("labels", one, classes) for one in (outputs, *queries))
    else:
        logits = as_logits(kind, outputs, kind)
        further = [as_logits(f"queries[{i}]", one, kind) for i, one in enumerate(queries)]
    return Readings(logits, *_beside(logits, further, probed, logits.shape[:-1]))


def other_readings(
    outputs: Array,
    y: Array,
    queries: Any = (),
    probed: Mapping[str, Array] | None = None,
    *,
    kind: str,
    model_axes: int,
) -> Readings:
    """Returns readings of a language model's logits, or of a regression's predictions, that a caller gives.

    Args:
      outputs: as `kind` says: "tokens" [..., n, t, v] with y [n, t], or "numbers" [..., n, *shape] with y [n, *shape].
      y, queries, probed: as of `class_readings`.
      kind: "tokens" or "numbers".
      model_axes: axes before the records': 0 of one model, 1 of several.

    Raises:
      ValueError: outputs or labels of another shape, tokens out of range, NaN.
    """
    signal = LOSS_OF_KIND[kind]
    outputs, *further = map(np.asarray, (outputs, *queries))
    shape = signal(outputs, y).shape
    if len(shape) != 1 + model_axes:
        whose = "of several models" if len(shape) > 1 else "of one model"
        raise ValueError(
            f"outputs have shape {outputs.shape} and y {y.shape}, which is {whose}; expected as many models as rows of "
            "member: (models, records) for audit_models, (records,) for audit_model."
        )
    return Readings(outputs, *_beside(outputs, further, probed, shape), kind=kind)


def _beside(
    outputs: np.ndarray, queries: list[np.ndarray], probed: Mapping[str, Array] | None, shape: tuple[int, ...]
) -> tuple[tuple[np.ndarray, ...], dict[str, np.ndarray]]:
    """Returns (queries, values) that a caller gives beside the outputs of records [..., n] of such a shape, checked."""
    for i, one in enumerate(queries):
        checks.shape(f"queries[{i}]", one, outputs.shape)
    known = {one.name: one for one in SIGNALS.values() if one.needs}
    values = {}
    for name, array in (probed or {}).items():
        axes = checks.lookup("signal of probed", name, known).axes
        values[name] = checks.shape(f"probed[{name!r}]", np.asarray(array), (*shape, *[None] * len(axes)))
        if np.isnan(values[name]).any():
            missing = int(np.isnan(values[name]).sum())
            raise ValueError(f"probed[{name!r}] holds {missing} NaN of {values[name].size} entries.")
    return tuple(queries), values
