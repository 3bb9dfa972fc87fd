"""Where a NaN came from: the failed epoch is replayed step by step, and the first bad layer is named."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.models.trace import layer_path
from gecko_jax.training.step import Data, Epoch, State, Step, with_transition
from gecko_jax.trees import first_not_finite, take
from gecko_jax.types import Model


class NotFinite(FloatingPointError):
    """A loss became NaN or infinite. `step` counts from 0 within `epoch`; `layer` is the first bad one."""

    def __init__(self, model: int, epoch: int, step: int, layer: str, loss: float):
        self.model, self.epoch, self.step, self.layer = model, epoch, step, layer
        super().__init__(
            f"the loss of model {model} is {loss} at epoch {epoch}, step {step}; first not finite: {layer}. "
            "Lower the learning rate, check the inputs for NaN, or bound the activations."
        )


def not_finite(losses: np.ndarray) -> tuple[int, int] | None:
    """(row, step) of the first loss [m, steps], by step, that is NaN or infinite; None where all are finite."""
    bad = np.argwhere(~np.isfinite(losses.T))
    return None if len(bad) == 0 else (int(bad[0, 1]), int(bad[0, 0]))


def locate(
    model: Model,
    step: Step,
    states: State,
    data: Data,
    work: Epoch,
    where: tuple[int, int],
    losses: np.ndarray,
    name: int,
    epoch: int,
) -> NotFinite:
    """The error for a loss that is not finite, found by replaying the epoch.

    Args:
      model, step: what was trained, and its step function.
      states, data, work: a group's, as they were at the epoch's start.
      where: (row, step) in the group.
      losses: [m, steps].
      name, epoch: of the model and of the epoch, for the message.
    """
    row, until = where
    state, rows = take(states, row), work.row(row)
    if data.teacher is not None and data.teacher.ndim == 3:
        data = data._replace(teacher=data.teacher[row])
    state = state._replace(variables=with_transition(state.variables, work.transition))
    compiled = jax.jit(step)
    for number in range(until):
        state, _ = compiled(state, data, rows, jnp.int32(number))
    layer = _first_bad(model, state, data.x[rows.indices[until]])
    return NotFinite(name, epoch, until, layer, float(losses[row, until]))


def _first_bad(model: Model, state: State, x) -> str:
    if not bool(jnp.isfinite(x).all()):
        return "the input x"
    if name := first_not_finite(state.variables):
        return f"{name!r}, already before the step"
    if name := _first_bad_output(model, state, x):
        return f"the output of layer {name!r}"
    return "the loss itself; the outputs of all layers are finite"


def _first_bad_output(model: Model, state: State, x) -> str | None:
    bad: list[str] = []

    def watch(next_fun, args, kwargs, context):
        output = next_fun(*args, **kwargs)
        if context.method_name == "__call__" and isinstance(output, jax.Array) and not bool(jnp.isfinite(output).all()):
            bad.append(layer_path(context.module) or type(context.module).__name__)
        return output

    with nn.intercept_methods(watch):
        model.apply(state.variables, x, train=True, key=jax.random.key(0))
    return bad[0] if bad else None
