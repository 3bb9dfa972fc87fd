"""What was read off one model, or off several, on n records: everything that attacks see of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.attacks import PROBED, SIGNALS
from gecko_jax.attacks.signals import axes_of
from gecko_jax.audit.reading.outputs import as_logits, labels_as_logits
from gecko_jax.types import Array

MISSING = {
    "label_robustness": "audit(predict, ...), which asks the model about moved copies",
    "boundary_distance": "audit(predict, ...), which walks to the model's boundary",
    "sensitivity": "audit(predict, ...), which asks the model about near copies",
    "hinge_on_record": "audit(predict, ...), which has the records",
    "small_gradient": "audit(model, ..., variables=...) with a gecko_jax Model, whose gradients can be read",
}


class Readings(NamedTuple):
    """Attributes:
    logits: [..., n, c], of the records as they are.
    queries: further logits of the same shape, one array for each moved copy of the records.
    probed: name of `attacks.PROBED` -> [..., n, *axes].
    """

    logits: np.ndarray
    queries: tuple[np.ndarray, ...] = ()
    probed: Mapping[str, np.ndarray] = {}

    def signal(self, name: str, y: np.ndarray) -> list[np.ndarray]:
        """Values [..., n, *axes] of a signal: one array for each query, the records themselves first.

        Raises:
          ValueError: a signal that was not read.
        """
        if name in SIGNALS:
            return [SIGNALS[name](logits, y) for logits in (self.logits, *self.queries)]
        if name not in self.probed:
            raise ValueError(f"signal {name!r} was not read off the model; it comes from {missing(name)}.")
        return [self.probed[name]]

    def rows(self, index: Any) -> Readings:
        """Those of some records: the axis before the classes."""
        axis = self.logits.ndim - 2
        return self._map(lambda values: np.take(values, index, axis))

    def models(self, index: Any) -> Readings:
        """Those of some models: the first axis."""
        return self._map(lambda values: values[index])

    def _map(self, function) -> Readings:
        return Readings(
            function(self.logits),
            tuple(function(logits) for logits in self.queries),
            {name: function(values) for name, values in self.probed.items()},
        )


def missing(name: str) -> str:
    """Where a probed signal would come from."""
    return MISSING.get(name, MISSING["small_gradient"])


def stacked(found: list[Readings]) -> Readings:
    """Readings of several models as one, with a leading axis."""
    return Readings(
        np.stack([one.logits for one in found]),
        tuple(np.stack(parts) for parts in zip(*(one.queries for one in found), strict=True)),
        {
            name: np.stack([one.probed[name] for one in found])
            for name in found[0].probed
            if all(name in one.probed for one in found)  # what could not be read off one of them is left out
        },
    )


def checked(
    logits: Array,
    queries: Any = (),
    probed: Mapping[str, Array] | None = None,
    outputs: str = "logits",
    classes: int | None = None,
) -> Readings:
    """Readings of arrays that a caller gives; `outputs` says whether they are "logits", "probabilities" or "labels".

    Predicted labels [..., n] are class numbers, of which there are `classes`.

    Raises:
      ValueError: outputs that are no logits, shapes that differ, an unknown signal, NaN.
    """
    if outputs == "labels":
        logits, *further = (labels_as_logits("labels", one, classes) for one in (logits, *queries))
    else:
        logits = as_logits(outputs, logits, outputs)
        further = [as_logits(f"queries[{i}]", one, outputs) for i, one in enumerate(queries)]
    for i, one in enumerate(further):
        checks.shape(f"queries[{i}]", one, logits.shape)
    signals = {}
    for name, values in (probed or {}).items():
        checks.one_of("signal of probed", name, PROBED)
        values = np.asarray(values)
        checks.shape(f"probed[{name!r}]", values, (*logits.shape[:-1], *[None] * axes_of(name)))
        if np.isnan(values).any():
            raise ValueError(f"probed[{name!r}] holds {int(np.isnan(values).sum())} NaN of {values.size} entries.")
        signals[name] = values
    return Readings(logits, tuple(further), signals)
