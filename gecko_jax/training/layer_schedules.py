"""Schedules that give each layer a value of its own, by its place in the order in which the layers are called.

    fit(model, data, schedules={"transition": last_layer_first(0.2, 0.8)})

A layer's place is read off the traced forward pass: the first step that reads its variable. Names do not tell it
("block10" sorts before "block2").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.activations import MIXTURE, TRANSITION
from gecko_jax.models.range_penalty import POWER as PENALTY_POWER
from gecko_jax.models.range_penalty import WEIGHT as PENALTY_WEIGHT
from gecko_jax.models.removed_weights import DROP
from gecko_jax.models.removed_weights import SHARE as PRUNING_SHARE
from gecko_jax.programs import trace
from gecko_jax.trees import named_leaves
from gecko_jax.types import Model, Variables

# The smallest and the largest value of collections whose use elsewhere would be another one, or none.
RANGES = {
    TRANSITION: (0.0, 1.0),
    MIXTURE: (0.0, 1.0),
    PRUNING_SHARE: (0.0, 1.0),
    DROP: (0.0, 1.0),
    PENALTY_WEIGHT: (0.0, np.inf),
    PENALTY_POWER: (1.0, np.inf),  # below 1 the slope at 0 has no limit
}


class LayerSchedule(NamedTuple):
    """A schedule of a collection that holds one number a layer: a function of time and of the layer's place.

    Attributes:
      at: (share of the run that is done, place of the layer, 0 for the first, number of layers) -> its value.

    >>> LayerSchedule(lambda share, place, layers: float(place <= share * layers)).at(0.5, 1, 4)
    1.0
    """

    at: Callable[[float, int, int], float]


class PlacedSchedule(NamedTuple):
    """A LayerSchedule of a model whose layers are known: (share) -> the value of each leaf of the collection.

    Attributes:
      name: of the schedule, for messages.
      schedule: of each layer.
      places: of each leaf's layer, see `places_of`.
    """

    name: str
    schedule: LayerSchedule
    places: tuple[int, ...]

    def __call__(self, share: float) -> list[float]:
        """Returns the values in the order of the leaves."""
        each = (self.schedule.at(share, place, len(self.places)) for place in self.places)
        return [checked_value(self.name, share, value) for value in each]


def last_layer_first(start: float, end: float, first: float = 0.0, last: float = 1.0) -> LayerSchedule:
    """Builds linear ramps from `first` to `last` that follow one another, the last layer's at first.

    Of L layers, each ramp takes (end - start) / L of the run. Until `start` nothing changes: the warm-up. All layers at
    once is `training.linear(start, end)`.

    Args:
      start, end: shares of the run, 0 <= start < end <= 1, between which all layers change.
      first, last: a layer's value before and after its ramp.

    Raises:
      ValueError: shares out of order or of range.

    Source: Baruch et al., 2021 (arXiv 2111.03362), section 3.

    >>> schedule = last_layer_first(0.2, 0.6)  # of two layers: the last from 0.2 to 0.4, the first from 0.4 to 0.6
    >>> [[round(schedule.at(share, place, 2), 12) for place in (0, 1)] for share in (0.2, 0.3, 0.4, 0.5, 0.6)]
    [[0.0, 0.0], [0.0, 0.5], [0.0, 1.0], [0.5, 1.0], [1.0, 1.0]]
    """
    check_ramp("last_layer_first", start, end)

    def at(share: float, place: int, layers: int) -> float:
        progress = layers * (share - start) / (end - start) - (layers - 1 - place)
        if share >= end:  # to the bit, whatever the quotient's rounding
            progress = 1.0
        return first + (last - first) * min(max(progress, 0.0), 1.0)

    return LayerSchedule(at)


def check_ramp(builder: str, start: float, end: float) -> None:
    """Raises ValueError unless 0 <= start < end <= 1.

    Args:
      builder: name of the function that was called.
      start, end: shares of the run.
    """
    if not 0 <= start < end <= 1:
        raise ValueError(
            f"{builder}(start={start!r}, end={end!r}) must satisfy 0 <= start < end <= 1: they are shares of the run, "
            "epoch / epochs."
        )


def places_of(collection: str, model: Model, variables: Variables, x: Any) -> tuple[int, ...]:
    """Returns the place of each leaf of a collection in the order in which the forward pass reads them.

    Args:
      collection: its name.
      model: any model.
      variables, x: one model's variables and a batch of inputs, or their shapes.

    Raises:
      ValueError: a leaf of several numbers, which would belong to several layers; a leaf that the model does not read.
    """
    program, _ = trace(lambda variables, x: model.apply(variables, x)[0], variables, x)
    read_at: dict[Any, int] = {}
    for number, step in enumerate(program.steps):
        for atom in step.inputs:
            if isinstance(atom, int):
                read_at.setdefault(atom, number)
    names = [name for name, _ in named_leaves(variables)]
    numbers = dict(zip(names, program.inputs, strict=False))  # the inputs x come behind the variables
    leaves = {
        f"{collection}/{name}" if name else collection: leaf for name, leaf in named_leaves(variables[collection])
    }
    for name, leaf in leaves.items():
        if np.prod(leaf.shape) != 1:
            raise ValueError(
                f"{name} has shape {tuple(leaf.shape)}, and layer by layer each has one number: layers that nn.scan or "
                "nn.vmap stacks change together. Schedule them by training.linear."
            )
        if numbers[name] not in read_at:
            raise ValueError(f"{name} is not read by the model, and its layer has no place among the others.")
    order = sorted(leaves, key=lambda name: read_at[numbers[name]])
    return tuple(order.index(name) for name in leaves)


def checked_value(name: str, share: float, value: Any) -> float:
    """Returns a schedule's value as a float.

    Args:
      name: of the schedule.
      share: at which it was asked.
      value: what it returned.

    Raises:
      ValueError: anything but one finite number, or one that the collection cannot hold.
    """
    argument = f"schedules[{name!r}]({share:g})"
    if np.ndim(value) or isinstance(value, str):
        raise ValueError(f"{argument} is {value!r}; expected one number.")
    return checks.in_range(argument, float(checks.finite(argument, value)), *RANGES.get(name, (-np.inf, np.inf)))
