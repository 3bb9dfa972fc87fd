"""Quadratic imitation learning (QuaIL): layer by layer to the ReLU teacher's, then fine-tuned from last to first.

Both stages are transforms of a model, which read the activations that pass by: they serve any network whose
activations are of `gecko_jax.activations`. A scheduled collection says which layer is trained.

Source: Garimella et al., "Sisyphus" (arXiv 2107.12342).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gecko_jax.activations import Activation
from gecko_jax.models import with_collection
from gecko_jax.training.schedules import Schedule
from gecko_jax.types import Array, Batch, Loss, Model

STAGE = "stage"  # the collection: the number of the layer that is trained


@contextmanager
def seen(look: Callable[[int, Array, Array], Array]) -> Iterator[None]:
    """Calls look(i, input, output) at the i-th activation of a forward pass, and goes on with what it returns."""
    count, inside = 0, False

    def watch(next_fun, args, kwargs, context):
        nonlocal count, inside
        if inside or context.method_name != "__call__" or not isinstance(context.module, Activation):
            return next_fun(*args, **kwargs)
        inside = True
        try:
            output = next_fun(*args, **kwargs)
        finally:
            inside = False
        count += 1
        return look(count - 1, args[0], output)

    with nn.intercept_methods(watch):
        yield


def hidden(model: Model) -> Model:
    """Returns the model whose outputs are those of its activations: a tuple of arrays [b, ...]."""

    def apply(variables, x, **options):
        outputs: list[Array] = []

        def look(i, before, after):
            outputs.append(after)
            return after

        with seen(look):
            updates = model.apply(variables, x, **options)[1]
        return tuple(outputs), updates

    return model._replace(apply=apply)


def imitating(model: Model) -> Model:
    """Returns the model that gives its activations' outputs, of which the stage's alone has a gradient."""

    def select(stage: Array, i: int, before: Array, after: Array) -> Array:
        return jnp.where(stage == i, after, jax.lax.stop_gradient(after))

    def apply(variables, x, **options):
        stage, outputs = variables[STAGE]["layer"], []

        def look(i, before, after):
            outputs.append(select(stage, i, before, after))
            return jax.lax.stop_gradient(after)  # layers below were trained before, and rest

        with seen(look):
            updates = model.apply(_others(variables), x, **options)[1]
        return tuple(outputs), updates

    return _staged(model, apply)


def fine_tuning(model: Model) -> Model:
    """Returns the model whose gradient stops at the outputs of activation number `stage`: layers above it train."""

    def apply(variables, x, **options):
        stage = variables[STAGE]["layer"]

        def look(i, before, after):
            return jnp.where(i > stage, after, jax.lax.stop_gradient(after))

        with seen(look):
            return model.apply(_others(variables), x, **options)

    return _staged(model, apply)


def _others(variables: Any) -> dict[str, Any]:
    return {name: tree for name, tree in variables.items() if name != STAGE}


def _staged(model: Model, apply: Callable[..., Any]) -> Model:
    staged = with_collection(model, STAGE, lambda variables: {"layer": jnp.zeros(())})
    return staged._replace(apply=apply)


def upwards(layers: int) -> Schedule:
    """Builds the schedule of imitation: layer 0 first, an equal share of the run for each."""
    return lambda share: float(min(int(share * layers), layers - 1))


def downwards(layers: int) -> Schedule:
    """Builds the schedule of fine-tuning: first the last layer alone, at last all, each for an equal share."""
    return lambda share: float(layers - 1 - min(int(share * (layers + 1)), layers))


@functools.cache
def imitation_loss() -> Loss:
    """Builds the sum over layers of the mean squared distance between the student's outputs and the teacher's."""

    def apply(outputs: tuple[Array, ...], example: Batch) -> Array:
        teacher = (example.extra or {})["hidden"]
        return sum(jnp.mean((a - jax.lax.stop_gradient(b)) ** 2) for a, b in zip(outputs, teacher, strict=True))

    return Loss("imitation", apply, reads=("hidden",))
