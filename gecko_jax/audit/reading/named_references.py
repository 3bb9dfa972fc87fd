"""Named reference models: what each says of the records by itself, and the targets' losses beside theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.audit.reading.readings import Readings
from gecko_jax.audit.reading.saved_signals import Values, saved_signals
from gecko_jax.signals import SIGNALS, Signal, reference_ratio_signal
from gecko_jax.signals.reference_ratio import FORMS, against_reference
from gecko_jax.types import Array

References = Mapping[str, Values] | Mapping[str, Array]


class NamedReferences(NamedTuple):
    """The signals of reference models on n records.

    Attributes:
      signal: the loss, of targets and references, that ratios are made of.
      models: name -> readings [n].
    """

    signal: Signal
    models: Mapping[str, Readings]

    def alone(self) -> dict[str, np.ndarray]:
        """Returns what each model says of the records, larger for members: name, and signal if several -> [n]."""
        result = {}
        for name, readings in self.models.items():
            for key, values in readings.values.items():
                signal = of_name(readings, key)
                if not signal.axes and signal.larger != "neither":
                    label = name if len(readings.values) == 1 else f"{name} by {key}"
                    result[label] = values if signal.larger == "members" else -values
        return result

    def ratios(self, readings: Readings) -> Readings:
        """Returns the readings [..., n] with the signals "reference_ratio" and "reference_quotient" beside them.

        Each is there against the mean of the models' losses, and with a model's name behind it against that model's. A
        signal that is larger for members, such as log p, is negated first.
        """
        sign = 1.0 if self.signal.larger == "nonmembers" else -1.0
        losses = {name: sign * model.values[self.signal.name] for name, model in self.models.items()}
        beside = {None: np.mean(list(losses.values()), axis=0), **losses}
        target = sign * readings.values[self.signal.name]
        values, own = dict(readings.values), list(readings.own)
        for form in FORMS if self.signal.bounds[0] >= 0 and sign > 0 else FORMS[:1]:
            for name, loss in beside.items():
                ratio = reference_ratio_signal(name, form)
                values[ratio.name] = against_reference(target, loss, form)
                own += [ratio] if ratio.name not in SIGNALS else []
        return readings._replace(values=values, own=tuple(own))

    def map(self, function: Callable[[Readings], Readings]) -> NamedReferences:
        """Returns the references with a function of readings applied to each."""
        return self._replace(models={name: function(readings) for name, readings in self.models.items()})


def of_name(readings: Readings, name: str) -> Signal:
    """Returns the signal of a name that readings hold."""
    return {one.name: one for one in readings.own}.get(name) or SIGNALS[name]


def named_references(references: References, readings: Readings, records: int) -> NamedReferences:
    """Returns the references that a caller gives, checked.

    Args:
      references: name -> signals as of `saved_signals` [n], some or all of those in `readings`; or an array [n], if
        these hold one signal.
      readings: of the targets.
      records: n.

    Raises:
      ValueError: what is not a mapping, a name that is not a str, signals that the targets lack, another shape, NaN, a
        model without the loss that ratios are made of, or one that is a target.
    """
    example = "{'pretrained': {'loss': losses}}"
    if not isinstance(references, Mapping):
        raise ValueError(f"references is a {type(references).__name__}; expected a dict, such as {example}.")
    checks.not_empty("references", list(references))
    signal = readings.loss_signal
    if signal is None:
        raise ValueError(
            f"references are compared by a loss, and values hold {sorted(readings.values)}; add one, such as 'loss' "
            "or 'sequence_loss'."
        )
    models = {}
    for name, values in references.items():
        if not isinstance(name, str) or not name:
            raise ValueError(f"references has the key {name!r}; expected the name of a model, such as 'pretrained'.")
        if not isinstance(values, Mapping):
            if len(readings.values) > 1:
                raise ValueError(
                    f"references[{name!r}] is an array and values hold {sorted(readings.values)}; say which signal it "
                    f"is: {example}."
                )
            only: dict[str | Signal, Array] = {of_name(readings, next(iter(readings.values))): values}
            values = only
        model = saved_signals(f"references[{name!r}]", values, (records,))
        if unknown := sorted(set(model.values) - set(readings.values)):
            raise ValueError(
                f"references[{name!r}] holds {checks.listed(unknown)}, and values {sorted(readings.values)}; expected "
                "signals that the targets have."
            )
        if signal.name not in model.values:
            raise ValueError(
                f"references[{name!r}] holds {sorted(model.values)} without {signal.name!r}, the loss that it is "
                "compared by; add it."
            )
        _refuse_target(name, readings.values[signal.name], model.values[signal.name])
        models[name] = model
    return NamedReferences(signal, models)


def _refuse_target(name: str, targets: np.ndarray, reference: np.ndarray) -> None:
    """Raises ValueError if a reference's values are those of a target, whose ratio would be 0 throughout."""
    same = (np.atleast_2d(targets) == reference[None]).all(1)
    if len(reference) > 1 and same.any():
        raise ValueError(
            f"references[{name!r}] has the values of model {int(same.argmax())}: a reference is another model, that "
            "was trained on none of the records. Give the pre-trained copy's values."
        )
