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
    """An optax transformation by name; the same arguments give the same object, so that compiled programs are shared.

    Args:
      name: "adam", "sgd" or "momentum" (0.9).
      learning_rate: above 0.
    """
    return lookup("optimizer", name, OPTIMIZERS)(positive("learning_rate", learning_rate))
