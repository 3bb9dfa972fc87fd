"""What changes with time, set in one place: a function of the share of the run that is done, for each quantity.

    fit(model, data, schedules={"learning_rate": cosine, "transition": linear(0.2, 0.6)})

"learning_rate" is a factor on the optimizer's own learning rate. Any other name is a collection of the model's
variables, and each of its leaves is set to the value before every epoch: `activations.Quadratic` reads the collection
"transition", and a module of your own may read another, such as a temperature.

A value holds for a whole epoch. A model in an ensemble is therefore trained exactly as it would be alone, even if
another one takes more steps. The value in the last epoch is the one that the trained model keeps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import checks
from gecko_jax.privacy.gradients import THRESHOLD
from gecko_jax.training.averaging import AVERAGE
from gecko_jax.types import Array, Variables

Schedule = Callable[[float], float]  # share of the run that is done, 0 to below 1 -> value

LEARNING_RATE = "learning_rate"
FINAL_VALUES = {"transition": 1.0}  # what a collection must hold in the last epoch, because that is what is deployed
NOT_SCHEDULED = ("params", "batch_stats", THRESHOLD, AVERAGE)  # trained or measured: a schedule would undo that


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
    if not 0 <= start < end <= 1:
        raise ValueError(
            f"linear(start={start!r}, end={end!r}) must satisfy 0 <= start < end <= 1: they are shares of the run, "
            "epoch / epochs."
        )

    def ramp(share: float) -> float:
        return first + (last - first) * min(max((share - start) / (end - start), 0.0), 1.0)

    return ramp


SCHEDULES: dict[str, Schedule] = {"constant": constant, "cosine": cosine}


class Schedules(NamedTuple):
    """The schedules of a run.

    Attributes:
      functions: {name: its function}; "learning_rate" is always among them.
      values: {name: its value in each epoch}, what the run's identity holds.
    """

    functions: dict[str, Schedule]
    values: dict[str, list[float]]

    def at(self, epoch: int) -> dict[str, np.float32]:
        """Returns the values in an epoch.

        Raises:
          ValueError: a function that gives another value than when the run began.
        """
        for name, function in self.functions.items():
            known = self.values[name]
            if (value := float(function(epoch / len(known)))) != known[epoch]:
                raise ValueError(
                    f"schedules[{name!r}]({epoch / len(known):g}) was {known[epoch]!r} when the run began and is "
                    f"{value!r} now: a schedule must be a function of the share alone."
                )
        return {name: np.float32(values[epoch]) for name, values in self.values.items()}


def tabulate(schedules: Mapping[str, Schedule] | None, epochs: int) -> Schedules:
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
        if not callable(function):
            raise ValueError(f"schedules[{name!r}]={function!r} must be a function of the share of the run, {example}.")
    shares = [epoch / epochs for epoch in range(epochs)]
    values = {name: [_value(name, function, share) for share in shares] for name, function in functions.items()}
    for name, final in FINAL_VALUES.items():
        if name in values and values[name][-1] != final:
            raise ValueError(
                f"schedules[{name!r}]({shares[-1]:g}) is {values[name][-1]:g} in the last of {epochs} epochs and must "
                f"be {final:g}, which is what is deployed: let it end earlier, as training.linear(0.2, 0.6) does."
            )
    return Schedules(functions, values)


def _value(name: str, function: Schedule, share: float) -> float:
    argument, value = f"schedules[{name!r}]({share:g})", function(share)
    if np.ndim(value) or isinstance(value, str):
        raise ValueError(f"{argument} is {value!r}; expected one number.")
    checks.finite(argument, value)
    return float(checks.at_least(argument, value, 0) if name == LEARNING_RATE else value)


def check_collections(schedules: Schedules, variables: Variables) -> None:
    """Raises ValueError unless every schedule sets a collection of the model that may be set.

    Args:
      schedules: of the run.
      variables: one model's, or their shapes.
    """
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
                f"(it has {there or 'none'} beside its parameters). Leave it out, or use a layer that reads it: the "
                'activation "quadratic" reads "transition".'
            )
        for leaf in jax.tree.leaves(variables[name]):
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise ValueError(f"schedules[{name!r}] would set a variable of type {leaf.dtype}; expected floats.")


def with_scheduled(variables: Variables, values: Mapping[str, Array]) -> Variables:
    """Returns the variables with every scheduled collection set to its value.

    Args:
      variables: of one model.
      values: {name: value}; "learning_rate" is not a collection and is passed over.
    """

    def filled(tree: Any, value: Array) -> Any:
        return jax.tree.map(lambda old: jnp.full_like(old, value), tree)

    return {**variables, **{name: filled(variables[name], r) for name, r in values.items() if name != LEARNING_RATE}}
