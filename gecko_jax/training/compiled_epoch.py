"""The compiled epoch of a group of models, for one layout; compiled once for all epochs, groups and repeats."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from gecko_jax import devices, hosts, surroundings
from gecko_jax.training import device_groups
from gecko_jax.training.layout import Layout
from gecko_jax.training.pool import Data
from gecko_jax.training.schedules import with_scheduled
from gecko_jax.training.step import Epoch, State, Step, UpdateRule, make_step, scanned_epoch
from gecko_jax.training.stored import shape_of
from gecko_jax.trees import example_shapes, shapes, take

RunEpoch = Callable[[State, Data, Epoch], tuple[State, tuple[Any, ...]]]


def compiled_epoch(rule: UpdateRule, layout: Layout, skips: bool) -> RunEpoch:
    """Builds (states, data, epochs) -> (states, (losses, metrics, counts) [width, steps]) of a group of models.

    On an accelerator the states that are passed are donated: the new ones take their place in memory.

    Args:
      rule, skips: see `step.make_step`.
      layout: how the group is laid out; states and epochs have a leading axis of `layout.width` models.
    """
    return _compiled_epoch(rule, layout, skips, device_groups.on_accelerator())


@functools.lru_cache(maxsize=64)
def _compiled_epoch(rule: UpdateRule, layout: Layout, skips: bool, donates: bool) -> RunEpoch:
    step = make_step(rule, skips)
    run = scanned_epoch(step)
    if not layout.scan:
        return _step_loop(surroundings.jit(_over_processes(step, layout, PartitionSpec())))
    axes: Any = (0, 0, 0, None)
    data_axes, epoch_axes = Data(None, None, None, 0), Epoch(*axes)

    def several(states: State, data: Data, epochs: Epoch):
        if layout.width == 1:  # a vmap of one would still turn products into batched ones
            return jax.tree.map(lambda leaf: leaf[None], run(take(states, 0), data.of(0), epochs.row(0)))
        with devices.side_by_side(layout.width_of_device):
            return jax.vmap(run, in_axes=(0, data_axes, epoch_axes))(states, data, epochs)

    def traced(states, data, epochs):
        with layout.context():
            return several(states, data, epochs)

    traced = _over_processes(traced, layout, PartitionSpec(device_groups.AXIS))
    return surroundings.jit(traced, donate_argnums=(0,) if donates else ())


def _over_processes(run: Callable[..., Any], layout: Layout, spec: PartitionSpec) -> Callable[..., Any]:
    """Returns the function with its states where they were and its metrics on all devices, where each host reads them.

    Args:
      run: (...) -> (states, metrics).
      layout: of the group.
      spec: of the states.
    """
    if hosts.count() == 1:
        return run

    def pinned(*arguments):
        states, metrics = run(*arguments)
        mesh = device_groups.mesh_of(layout)
        states = jax.lax.with_sharding_constraint(states, NamedSharding(mesh, spec))
        return states, jax.lax.with_sharding_constraint(metrics, NamedSharding(mesh, PartitionSpec()))

    return pinned


def _step_loop(step):
    """Runs one model, one program a step, because convolutions are slow inside a loop on a CPU."""

    def run(states: State, data: Data, epochs: Epoch):
        state, epoch = take(states, 0), epochs.row(0)
        data = data.of(0)
        state = state._replace(variables=with_scheduled(state.variables, epoch.scheduled))
        metrics = []
        for number in range(epoch.indices.shape[0]):
            state, row = step(state, data, epoch, np.int32(number))
            metrics.append(row)
        stacked = tuple(np.array(column)[None] for column in zip(*metrics, strict=True))
        return jax.tree.map(lambda leaf: leaf[None], state), stacked

    return run


def program_text(step: Step, states: State, data: Data, epochs: Epoch) -> str:
    """Returns one model's step as XLA's input, which identifies what a run computes, to the last constant.

    It differs if model, loss, gradients, optimizer or JAX's version differ. It depends on neither
    the layout nor the number of processes.

    Args:
      step: the step.
      states, data, epochs: those of all models, or their shapes.
    """
    pool = jax.tree.map(shape_of, data._replace(own_extra=None))._replace(own_extra=example_shapes(data.own_extra))
    with devices.as_one_process():
        return jax.jit(step).lower(example_shapes(states), pool, *shapes((epochs.row(0), np.int32(0)))).as_text()
