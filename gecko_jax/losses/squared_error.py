"""Squared error of a regression model's one output."""

from __future__ import annotations

import functools

import jax.numpy as jnp

from gecko_jax.types import Loss


@functools.cache
def squared_error() -> Loss:
    """(f - y)^2 / 2, for a model with one output f and a real y; its gradient by f is the residual.

    Raises:
      ValueError: when called with more outputs than one.

    >>> from gecko_jax.types import Batch
    >>> float(squared_error().apply(jnp.array([3.0]), Batch(None, jnp.float32(1.0), None, None)))
    2.0
    """

    def apply(outputs, example):
        if outputs.shape != (1,):
            raise ValueError(
                f"squared_error was given {outputs.shape} outputs; a regression model has one: models.create(name, 1)."
            )
        return 0.5 * jnp.square(outputs[0] - example.y)

    return Loss("squared_error", False, apply)
