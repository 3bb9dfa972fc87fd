"""Finds where a NaN came from: replays the failed epoch step by step and names the first bad layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.privacy.cipher_keys import plain_key, wrap_key
from gecko_jax.programs import layer_path
from gecko_jax.training.feed import Place
from gecko_jax.training.pool import Data
from gecko_jax.training.schedules import with_scheduled
from gecko_jax.training.step import Epoch, State, Step
from gecko_jax.trees import first_not_finite, named_leaves, take
from gecko_jax.types import Array, Model, Variables


class NotFinite(FloatingPointError):
    """A loss or a trained value became NaN or infinite.

    Attributes:
      model: ID of the model.
      epoch, step: when; `step` counts from 0 within the epoch.
      layer: what was not finite first.
    """

    def __init__(self, model: int, epoch: int, step: int, layer: str, loss: float):
        self.model, self.epoch, self.step, self.layer = model, epoch, step, layer
        super().__init__(
            f"model {model} is not finite at epoch {epoch}, step {step} (loss {loss}); first not finite: {layer}. "
            "Lower the learning rate, check the inputs for NaN, or bound the activations."
        )


def check_losses(
    losses: np.ndarray, model: Model, step: Step, inputs: tuple[State, Data, Epoch], ids: Sequence[int], place: Place
) -> None:
    """Raises NotFinite if a loss is NaN or infinite; the portion is replayed to name the layer.

    Args:
      losses: [m, steps] of a group of models in a portion of an epoch.
      model, step: what was trained, and its step function.
      inputs: the group's states, data and work, as they were at the portion's start.
      ids: [m], the models' IDs.
      place: where the portion stands in the run, for the message.
    """
    bad = np.argwhere(~np.isfinite(losses.T))
    if len(bad):
        until, row = (int(index) for index in bad[0])
        layer = _first_bad_layer(model, step, inputs, (row, until), place.indices[row, until])
        raise NotFinite(ids[row], place.epoch, place.first + until, layer, float(losses[row, until]))


def _first_bad_layer(
    model: Model, step: Step, inputs: tuple[State, Data, Epoch], at: tuple[int, int], named: np.ndarray
) -> str:
    """Returns what is not finite first in a step.

    Args:
      model, step, inputs: see `check_losses`.
      at: (number of the model in its group, number of the step in the portion).
      named: the step's rows of the user's data.
    """
    row, until = at
    states, data, work = inputs
    state, rows = take(states, row), work.row(row)
    data = data.of(row)
    state = state._replace(variables=with_scheduled(state.variables, work.scheduled))
    compiled = jax.jit(step)
    for number in range(until):
        state, _ = compiled(state, data, rows, jnp.int32(number))
    key = plain_key(jax.random.fold_in(wrap_key(rows.key), until + int(rows.first or 0)))
    return _first_bad(model, state, take(data.x, np.asarray(rows.indices[until])), named, key)


def check_trained(variables: Variables, ids: Sequence[int], epochs: int, steps: np.ndarray, loss: np.ndarray) -> None:
    """Raises NotFinite if the last update, which no loss sees, left a value that is not finite.

    Args:
      variables: of all models, leading axis m.
      ids, steps, loss: [m], each model's ID, steps of an epoch and last loss.
      epochs: how many were trained.
    """
    for name, leaf in named_leaves(variables):
        bad = ~np.isfinite(leaf.reshape(len(leaf), -1)).all(1) if jnp.issubdtype(leaf.dtype, jnp.floating) else []
        if np.any(bad):
            row = int(np.argmax(bad))
            raise NotFinite(ids[row], epochs - 1, int(steps[row]) - 1, f"{name!r}, after the step", float(loss[row]))


def _first_bad(model: Model, state: State, batch: Any, rows: np.ndarray, key: Array) -> str:
    """Returns what is not finite first in a step on these rows: an input, a variable, a layer's output, or the loss."""
    for leaf in jax.tree.leaves(batch):
        if (bad := ~np.isfinite(np.asarray(leaf)).reshape(len(rows), -1).all(1)).any():
            return f"the input x, in row {int(rows[np.argmax(bad)])} of the data"
    if name := first_not_finite(state.variables):
        return f"{name!r}, already before the step"
    if name := _first_bad_output(model, state, batch, key):
        return f"the output of layer {name!r}"
    return "the loss itself; the outputs of all layers are finite"


def _first_bad_output(model: Model, state: State, x: Any, key: Array) -> str | None:
    bad: list[str] = []

    def watch(next_fun, args, kwargs, context):
        output = next_fun(*args, **kwargs)
        if context.method_name == "__call__" and isinstance(output, jax.Array) and not bool(jnp.isfinite(output).all()):
            bad.append(layer_path(context.module) or type(context.module).__name__)
        return output

    with nn.intercept_methods(watch):
        model.apply(state.variables, x, train=True, key=key)
    return bad[0] if bad else None
