"""The states that a run starts from: fresh variables of each model, or those of the caller."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import optax

from gecko_jax import checks, keys, surroundings
from gecko_jax.training.step import State, UpdateRule
from gecko_jax.trees import named_leaves, select_leaves, trainable_leaves
from gecko_jax.types import Model, Variables


def start_states(rule: UpdateRule, x: Any, seed: int, model_ids: Sequence[int], init: Variables | None) -> State:
    """Returns the states [m] before the first epoch, as host arrays.

    Args:
      rule: the parts of an update; the optimizer sees the trained parameters alone.
      x: one input with its leading axis.
      seed: of fresh variables.
      model_ids: [m].
      init: variables [m, ...] to start from, or None for fresh ones.
    """
    variables = fresh_variables(rule.model, x, seed, model_ids) if init is None else jax.tree.map(np.asarray, init)
    trained = select_leaves(variables["params"], trainable_leaves(variables["params"], rule.trainable))
    return State(variables, jax.tree.map(np.asarray, _optimizer_start(rule.optimizer)(trained)))


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
    each = [jax.tree.map(np.asarray, one(root, np.uint32(model_id), x)) for model_id in model_ids]
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
def _initializer(model: Model):
    """Builds (root key, a model's ID, x) -> its variables."""
    return surroundings.jit(lambda root, model_id, x: model.init(jax.random.fold_in(root, model_id), x))


@functools.lru_cache(maxsize=64)
def _optimizer_start(optimizer: optax.GradientTransformation):
    return jax.jit(jax.vmap(optimizer.init))
