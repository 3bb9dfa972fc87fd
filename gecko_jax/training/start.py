"""The states that a run starts from: fresh variables of each model, or those of the caller.

On a CPU the models are initialized one after another by one small program, whatever their number. On an accelerator a
group's states are made by one program where they are trained: nothing is stacked on the host and copied back. It loops
over the models, so that both ways give a model the same bits, alone or among others.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.sharding import PartitionSpec

from gecko_jax import checks, keys, surroundings
from gecko_jax.training import device_groups
from gecko_jax.training.device_groups import AXIS, DeviceGroups
from gecko_jax.training.step import State, UpdateRule
from gecko_jax.trees import named_leaves, select_leaves, shapes, trainable_leaves
from gecko_jax.types import Model, Variables


class Start:
    """The states before the first epoch, wherever they are asked for.

    Args:
      rule: the parts of an update; the optimizer sees the trained parameters alone.
      x: one input with its leading axis.
      seed: of fresh variables.
      model_ids: [m].
      init: variables [m, ...] to start from, or None for fresh ones.
    """

    def __init__(self, rule: UpdateRule, x: Any, seed: int, model_ids: Sequence[int], init: Variables | None):
        self._settings = rule, x, seed, tuple(model_ids), init

    @functools.cached_property
    def shapes(self) -> State:
        """Returns the states' shapes, with the leading axis [m]."""
        if not device_groups.on_accelerator():
            return shapes(self._made_on_host)
        rule, x, _, ids, _ = self._settings
        one = jax.eval_shape(lambda key, row: _state(rule, key, row), jax.random.key(0), x)
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((len(ids), *leaf.shape), leaf.dtype), one)

    @functools.cached_property
    def _made_on_host(self) -> State:
        return start_states(*self._settings)

    def on_host(self, groups: DeviceGroups) -> State:
        """Returns the states [m] as host arrays."""
        return groups.join(self.placed(groups)) if device_groups.on_accelerator() else self._made_on_host

    def placed(self, groups: DeviceGroups) -> list[State]:
        """Returns one state a group where it is trained, in arrays that nobody else holds: they may be donated."""
        if not device_groups.on_accelerator():
            return groups.split(self._made_on_host)
        rule, x, seed, ids, init = self._settings
        if init is not None:
            begin = _group_optimizer(rule, groups.mesh)
            return [State(variables, begin(variables)) for variables in groups.split(jax.tree.map(_array, init))]
        root, numbers = jax.random.key_data(keys.stream(seed, "init")), np.array(ids, np.uint32)
        make = group_initializer(rule, groups.mesh)
        return [make(root, numbers[rows], x) for rows in groups.rows]


def start_states(rule: UpdateRule, x: Any, seed: int, model_ids: Sequence[int], init: Variables | None) -> State:
    """Returns the states [m] before the first epoch, as host arrays; arguments as of `Start`."""
    variables = fresh_variables(rule.model, x, seed, model_ids) if init is None else jax.tree.map(np.asarray, init)
    return State(variables, jax.tree.map(np.asarray, _optimizer_start(rule.optimizer)(_trained(rule, variables))))


def fresh_variables(model: Model, x: Any, seed: int, model_ids: Sequence[int]) -> Variables:
    """Returns the initial variables [m] of each model, as host arrays.

    Args:
      model: any model.
      x: one input with its leading axis.
      seed: of the run.
      model_ids: [m].
    """
    # One at a time, because a model's bits must not depend on the others; one compiled program serves any number.
    root, one = keys.stream(seed, "init"), _initializer(model)
    each = jax.device_get([one(root, np.uint32(model_id), x) for model_id in model_ids])
    return jax.tree.map(lambda *leaves: np.stack(leaves), *each)


def check_init(init: Variables, shapes: Variables, models: int) -> None:
    """Raises ValueError unless `init` has the names and shapes of the model's variables, with an axis of the models.

    Others would be ignored here and fail obscurely later.

    Args:
      init: variables to start from.
      shapes: shapes of one model's variables.
      models: m.
    """
    passed, expected = dict(named_leaves(init)), dict(named_leaves(shapes))
    for name in [*passed, *expected]:
        if name not in expected:
            known = checks.listed(expected, 20)
            raise ValueError(f"init has {name!r}, which the model does not have. The model has: {known}.")
        if name not in passed:
            raise ValueError(f"init lacks {name!r}, which the model has. It has: {checks.listed(passed, 20)}.")
        checks.shape(f"init[{name!r}]", passed[name], (models, *expected[name].shape))


@functools.lru_cache(maxsize=64)
def group_initializer(rule: UpdateRule, mesh: Any):
    """Builds (key data of the root, IDs [width], x) -> the states [width] of a group, one program.

    Args:
      rule: the parts of an update.
      mesh: of the group's devices, each of which initializes its own models; None for one device.
    """

    def several(root, ids, x):
        key = jax.random.wrap_key_data(root)
        return lax.map(lambda model_id: _state(rule, jax.random.fold_in(key, model_id), x), ids)

    if mesh is not None:
        everywhere, split = PartitionSpec(), PartitionSpec(AXIS)
        several = jax.shard_map(
            several, mesh=mesh, in_specs=(everywhere, split, everywhere), out_specs=split, check_vma=False
        )
    return surroundings.jit(several)


@functools.lru_cache(maxsize=64)
def _group_optimizer(rule: UpdateRule, mesh: Any):
    """Builds (variables [width]) -> the optimizer's states of a group."""

    def several(variables):
        return _strong(jax.vmap(lambda one: rule.optimizer.init(_trained(rule, one)))(variables))

    if mesh is not None:
        split = PartitionSpec(AXIS)
        several = jax.shard_map(several, mesh=mesh, in_specs=split, out_specs=split, check_vma=False)
    return jax.jit(several)


def _state(rule: UpdateRule, key: Any, x: Any) -> State:
    variables = rule.model.init(key, x)
    return _strong(State(variables, rule.optimizer.init(_trained(rule, variables))))


def _trained(rule: UpdateRule, variables: Variables) -> Any:
    return select_leaves(variables["params"], trainable_leaves(variables["params"], rule.trainable))


def _array(leaf: Any) -> Any:
    """Returns the caller's array where it is, on the host or on a device."""
    return jnp.asarray(leaf, leaf.dtype) if isinstance(leaf, jax.Array) else np.asarray(leaf)


def _strong(tree: Any) -> Any:
    """Returns arrays whose types are their own, as those of host arrays: a weak type could become another in a step."""
    return jax.tree.map(lambda leaf: lax.convert_element_type(leaf, jnp.result_type(leaf)), tree)


@functools.lru_cache(maxsize=64)
def _initializer(model: Model):
    """Builds (root key, a model's ID, x) -> its variables."""
    return surroundings.jit(lambda root, model_id, x: model.init(jax.random.fold_in(root, model_id), x))


@functools.lru_cache(maxsize=64)
def _optimizer_start(optimizer: optax.GradientTransformation):
    return jax.jit(jax.vmap(optimizer.init))
