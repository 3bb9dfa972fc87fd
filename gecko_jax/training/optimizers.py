"""Optimisers by name, and learning-rate schedules by epoch.

A schedule is a factor for each epoch, so that a model in an ensemble, where another one may need more steps, is trained
exactly as it would be alone.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import optax

from gecko_jax.checks import at_least, finite, lookup, positive

OPTIMIZERS: dict[str, Callable[[float], optax.GradientTransformation]] = {
    "adam": optax.adam,
    "sgd": optax.sgd,
    "momentum": functools.partial(optax.sgd, momentum=0.9),
}

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
}


@functools.cache
def optimizer(name: str = "adam", learning_rate: float = 1e-3) -> optax.GradientTransformation:
    """An optax transformation by name; the same arguments give the same object, so that compiled programs are shared.

    Args:
      name: "adam", "sgd" or "momentum" (0.9).
      learning_rate: above 0.
    """
    return lookup("optimizer", name, OPTIMIZERS)(positive("learning_rate", learning_rate))


Rates = str | Callable[[float], float]  # a name of SCHEDULES, or the function itself: share of the run -> factor


def rate(schedule: Rates, epoch: int, epochs: int) -> float:
    """The factor on the learning rate in `epoch` of `epochs`: "constant" 1, "cosine" from 1 towards 0, or a function's.

    Raises:
      ValueError: an unknown name, or a function whose factor is no finite number from 0 on.
    """
    if not callable(schedule):
        return lookup("schedule", schedule, SCHEDULES)(epoch / epochs)
    name, factor = f"schedule({epoch / epochs:g})", schedule(epoch / epochs)
    return float(at_least(name, finite(name, factor), 0))


def transition_at(transition: tuple[int, int] | None, epoch: int) -> float:
    """r of the smooth transition in an epoch: 0 before `transition[0]`, 1 from `transition[1]` on, linear between."""
    if transition is None:
        return 1.0
    start, end = transition
    return min(max((epoch - start) / (end - start), 0.0), 1.0)
