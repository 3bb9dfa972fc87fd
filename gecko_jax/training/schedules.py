"""What changes with time, set in one place: a function of the share of the run that is done, for each quantity.

    fit(model, data, schedules={"learning_rate": cosine, "transition": linear(0.2, 0.6)})

"learning_rate" is a factor on the optimizer's own learning rate. Any other name is a collection of the model's
variables, and each of its leaves is set to the value before every epoch: `activations.Quadratic` reads the collection
"transition", and a module of your own may read another, such as a temperature.

A value holds for a whole epoch. A model in an ensemble is therefore trained exactly as it would be alone, even if
another one takes more steps. The value in the last epoch is the one that the trained model keeps.
`layer_schedules` gives each layer a value of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import checks
from gecko_jax.activations import MIXTURE, TRANSITION
from gecko_jax.privacy.gradients import THRESHOLD
from gecko_jax.quantizers.ranges import RANGES
from gecko_jax.training.averaging import AVERAGE
from gecko_jax.training.layer_schedules import LayerSchedule, PlacedSchedule, check_ramp, checked_value, places_of
from gecko_jax.types import Model, Variables

Schedule = Callable[[float], float]  # share of the run that is done, 0 to below 1 -> value

LEARNING_RATE = "learning_rate"
# What a collection must hold in the last epoch, because that is what is deployed.
FINAL_VALUES = {TRANSITION: 1.0, MIXTURE: 0.0}
NOT_SCHEDULED = ("params", "batch_stats", RANGES, THRESHOLD, AVERAGE)  # trained or measured: a schedule would undo that


def constant(share: float) -> float:
    """Returns 1 at any time: the learning rate stays as it is.

    Args:
      share: of the run that is done, 0 to below 1.

    >>> constant(0.5)
    1.0
    """
    del share
    return 1.0


def cosine(share: float) -> float:
    """Falls from 1 towards 0 along half a cosine, (1 + cos(pi share)) / 2.

    Args:
      share: of the run that is done, 0 to below 1.

    >>> cosine(0.0), round(cosine(0.5), 12)
    (1.0, 0.5)
    """
    return 0.5 * (1 + math.cos(math.pi * share))


def linear(start: float, end: float, first: float = 0.0, last: float = 1.0) -> Schedule:
    """Builds a linear ramp: `first` until the share `start` of the run, `last` from `end` on.

    Args:
      start, end: shares of the run, 0 <= start < end <= 1. Of a run of 50 epochs, 10 / 50 and 30 / 50 stand for a ramp
        from epoch 10 to epoch 30.
      first, last: the values before and after.

    Raises:
      ValueError: shares out of order or of range.

    >>> ramp = linear(0.2, 0.6)
    >>> [round(ramp(share), 12) for share in (0, 0.2, 0.3, 0.6, 0.9)]
    [0.0, 0.0, 0.25, 1.0, 1.0]
    """
    check_ramp("linear", start, end)

    def ramp(share: float) -> float:
        return first + (last - first) * min(max((share - start) / (end - start), 0.0), 1.0)

    return ramp


SCHEDULES: dict[str, Schedule] = {"constant": constant, "cosine": cosine}


class Schedules(NamedTuple):
    """The schedules of a run.

    Attributes:
      functions: {name: its function}; "learning_rate" is always among them.
      values: {name: its value in each epoch, or that of each layer}, what the run's identity holds.
    """

    functions: dict[str, Any]
    values: dict[str, list[Any]]

    def at(self, epoch: int) -> dict[str, Any]:
        """Returns the values in an epoch: a float32, or a tuple with one for each leaf of the collection.

        Raises:
          ValueError: a function that gives another value than when the run began.
        """
        for name, function in self.functions.items():
            known = self.values[name]
            if (value := _value(name, function, epoch / len(known))) != known[epoch]:
                raise ValueError(
                    f"schedules[{name!r}]({epoch / len(known):g}) was {known[epoch]!r} when the run began and is "
                    f"{value!r} now: a schedule must be a function of the share alone."
                )
        return {
            # Scalars and not an array, because an array's axis would be spread over devices as one of models.
            name: tuple(map(np.float32, values[epoch]))
            if isinstance(values[epoch], list)
            else np.float32(values[epoch])
            for name, values in self.values.items()
        }


def tabulate(schedules: Mapping[str, Schedule | LayerSchedule] | None, epochs: int) -> Schedules:
    """Asks every schedule for its value in each epoch.

    Args:
      schedules: {name: function}, or None.
      epochs: of the run.

    Raises:
      ValueError: anything but a mapping to functions, a value that is not one finite number, a negative factor on the
        learning rate, or a last value that must not be deployed.
    """
    example = "such as {'learning_rate': training.cosine, 'transition': training.linear(0.2, 0.6)}"
    if schedules is not None and not isinstance(schedules, Mapping):
        raise ValueError(f"schedules={schedules!r} must map names to functions of the share of the run, {example}.")
    functions = {LEARNING_RATE: constant, **(schedules or {})}
    for name, function in functions.items():
        if isinstance(function, LayerSchedule) and name == LEARNING_RATE:
            raise ValueError(
                f"schedules[{name!r}] goes layer by layer, and the learning rate is one for all: pass a function of "
                "the share of the run, or models.with_rates for the layers."
            )
        if not callable(function) and not isinstance(function, LayerSchedule):
            raise ValueError(f"schedules[{name!r}]={function!r} must be a function of the share of the run, {example}.")
    return Schedules(functions, {name: _values(name, function, epochs) for name, function in functions.items()})


def _values(name: str, function: Any, epochs: int) -> list[Any]:
    """Returns a schedule's value in each epoch."""
    if isinstance(function, LayerSchedule):  # as if there were one layer, until the model's layers are known
        function = PlacedSchedule(name, function, (0,))
    values = [_value(name, function, epoch / epochs) for epoch in range(epochs)]
    for value in jax.tree.leaves(values[-1]):
        if value != (final := FINAL_VALUES.get(name, value)):
            raise ValueError(
                f"schedules[{name!r}]({(epochs - 1) / epochs:g}) is {value:g} in the last of {epochs} epochs and must "
                f"be {final:g}, which is what is deployed: let it end earlier, as training.linear(0.2, 0.6) does."
            )
    return values


def _value(name: str, function: Any, share: float) -> Any:
    if isinstance(function, PlacedSchedule):
        return function(share)
    value = checked_value(name, share, function(share))
    return checks.at_least(f"schedules[{name!r}]({share:g})", value, 0) if name == LEARNING_RATE else value


def for_model(schedules: Schedules, model: Model, variables: Variables, x: Any) -> Schedules:
    """Returns the schedules with the values of each of the model's layers.

    Args:
      schedules: of the run.
      model: any model.
      variables, x: one model's variables and a batch of inputs, or their shapes.

    Raises:
      ValueError: a schedule that sets no collection of the model that may be set.
    """
    check_collections(schedules, variables)
    functions, values = dict(schedules.functions), dict(schedules.values)
    for name, function in schedules.functions.items():
        if isinstance(function, LayerSchedule):
            functions[name] = PlacedSchedule(name, function, places_of(name, model, variables, x))
            values[name] = _values(name, functions[name], len(values[name]))
    return Schedules(functions, values)


def check_collections(schedules: Schedules, variables: Variables) -> None:
    """Raises ValueError unless every schedule sets a collection of the model that may be set.

    Args:
      schedules: of the run.
      variables: one model's, or their shapes.
    """
    if MIXTURE in variables and MIXTURE not in schedules.functions:
        raise ValueError(
            f"the model has activations mixed with ReLU, and no schedule sets their share {MIXTURE!r}: plain ReLU "
            f"would be trained. Pass schedules={{{MIXTURE!r}: training.linear(0.2, 0.8, 1.0, 0.0)}}, or take a model "
            'with activation="relu".'
        )
    for name in schedules.functions:
        if name == LEARNING_RATE:
            continue
        if name in NOT_SCHEDULED:
            raise ValueError(
                f"schedules[{name!r}] would overwrite what is trained or measured. Schedule a collection that the "
                "model only reads, or 'learning_rate'."
            )
        if name not in variables:
            there = sorted(set(variables) - set(NOT_SCHEDULED))
            raise ValueError(
                f"schedules[{name!r}] would change nothing, because the model has no collection {name!r} "
                f"(it has {there or 'none'} beside its parameters). Leave it out, or use what reads it: the "
                'activation "quadratic" reads "transition", models.pruned "pruning", models.dynamic_sparse "drop".'
            )
        for leaf in jax.tree.leaves(variables[name]):
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise ValueError(f"schedules[{name!r}] would set a variable of type {leaf.dtype}; expected floats.")


def with_scheduled(variables: Variables, values: Mapping[str, Any]) -> Variables:
    """Returns the variables with every scheduled collection set to its value.

    Args:
      variables: of one model.
      values: {name: value, or a tuple with one for each leaf}; "learning_rate" is not a collection and is passed over.
    """

    def filled(tree: Any, value: Any) -> Any:
        if not isinstance(value, tuple):
            return jax.tree.map(lambda old: jnp.full_like(old, value), tree)
        leaves, structure = jax.tree.flatten(tree)
        return jax.tree.unflatten(structure, [jnp.full_like(old, v) for old, v in zip(leaves, value, strict=True)])

    return {**variables, **{name: filled(variables[name], r) for name, r in values.items() if name != LEARNING_RATE}}
