"""Optimizers by name."""

from __future__ import annotations

import functools
from collections.abc import Callable

import optax

from gecko_jax.checks import lookup, positive

OPTIMIZERS: dict[str, Callable[[float], optax.GradientTransformation]] = {
    "adam": optax.adam,
    "sgd": optax.sgd,
    "momentum": functools.partial(optax.sgd, momentum=0.9),
}


@functools.cache
def optimizer(name: str = "adam", learning_rate: float = 1e-3) -> optax.GradientTransformation:
    """Returns an optax transformation by name; the same arguments give the same object, and so share compiled programs.

    Args:
      name: "adam", "sgd" or "momentum" (0.9).
      learning_rate: step size, above 0. A schedule is an argument of `fit`: schedules={"learning_rate": cosine}.

    Raises:
      ValueError: an unknown name, or a learning rate that is not above 0.

    >>> optimizer("sgd", 0.1) is optimizer("sgd", 0.1)
    True
    """
    if callable(learning_rate):
        raise ValueError(
            f"learning_rate={learning_rate!r} must be a number. Pass a schedule to fit: "
            "schedules={'learning_rate': training.cosine}, a factor by the share of the run that is done."
        )
    return lookup("optimizer", name, OPTIMIZERS)(positive("learning_rate", learning_rate))
