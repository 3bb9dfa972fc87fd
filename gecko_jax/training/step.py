"""One update, and one epoch of them as a single program."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from gecko_jax.hooks import finish_update, scale_updates
from gecko_jax.privacy.gradients import THRESHOLD
from gecko_jax.training.gradients import GradFn
from gecko_jax.training.schedules import LEARNING_RATE, with_scheduled
from gecko_jax.trees import named_leaves, part, take, trainable_leaves, whole
from gecko_jax.types import Array, Batch, Model, StepMetrics, Variables


class State(NamedTuple):
    """All that training changes: a run that restores it goes on bit by bit."""

    variables: Variables
    optimizer: optax.OptState


class Epoch(NamedTuple):
    """One epoch's work for one model (a leading axis for several).

    Attributes:
      indices: int32 [steps, b], rows of the data.
      weight: float32 [steps, b].
      key: data (uint32 words) of the model's key in this epoch; step s draws from fold_in(key, s).
      scheduled: {name: its value in this epoch}, the factor "learning_rate" among them; see `schedules`.
    """

    indices: Array
    weight: Array
    key: Array
    scheduled: dict[str, Array]

    def row(self, model: Array | int) -> Epoch:
        """The work of one of several models, or of some of them."""
        return self._replace(**{name: getattr(self, name)[model] for name in PER_MODEL})


PER_MODEL = ("indices", "weight", "key")  # the fields of an Epoch that have a leading axis for several models


class Data(NamedTuple):
    """Device arrays that a step gathers its rows from.

    Attributes:
      x, y: pytrees with a leading axis [n, ...].
      extra: `Batch.extra` of all rows that all models share, or None.
      own_extra: that of one model, or with a leading axis [m, n, ...] of several; None unless it is declared to be each
        model's own. At most one of the two is given.
    """

    x: Any
    y: Any
    extra: Any = None
    own_extra: Any = None

    def of(self, model: int) -> Data:
        """The data of one of several models."""
        return self._replace(own_extra=take(self.own_extra, model))


Step = Callable[[State, Data, Epoch, Array], tuple[State, tuple[Array, Array, Array]]]


def make_step(
    model: Model,
    gradients: GradFn,
    optimizer: optax.GradientTransformation,
    skips: bool,
    trainable: tuple[str, ...] | None = None,
) -> Step:
    """(state, data, epoch, step number) -> (state, (loss, metric, count)).

    Args:
      model: for its hooks, `after_update` and `rates`.
      gradients: what to descend along.
      optimizer: an optax transformation.
      skips: whether an epoch may hold steps of weight 0 only, which must leave the state (momentum, too) as it is.
      trainable: expressions of the parameters that the optimizer sees; None: all. See `fit_ensemble`.
    """

    def step(state: State, data: Data, epoch: Epoch, number: Array):
        rows = epoch.indices[number]
        x, y, extra = take((data.x, data.y, data.extra if data.own_extra is None else data.own_extra), rows)
        batch = Batch(x, y, epoch.weight[number], extra)
        key = jax.random.fold_in(jax.random.wrap_key_data(epoch.key), number)
        grads, metrics = gradients(state.variables, batch, key)
        frozen = _Frozen(trainable, getattr(gradients, "live", _all_of)(state.variables, batch, key))
        new = _update(model, optimizer, state, grads, metrics, epoch.scheduled[LEARNING_RATE], batch.x, frozen)
        if skips:
            new = jax.tree.map(lambda after, before: jnp.where(metrics.count > 0, after, before), new, state)
        return new, (metrics.loss, metrics.metric, metrics.count)

    return step


class _Frozen(NamedTuple):
    """What stays as it is: `trainable` is seen by the optimizer, and of it `live` [leaves] has a gradient path."""

    trainable: tuple[str, ...] | None
    live: tuple[bool, ...]


def _all_of(variables: Variables, batch: Batch, key: Array) -> tuple[bool, ...]:
    return (True,) * len(jax.tree.leaves(variables["params"]))


def _update(
    model, optimizer, state: State, grads, metrics: StepMetrics, rate: Array, x: Array, frozen: _Frozen
) -> State:
    params = state.variables["params"]
    keep = trainable_leaves(params, frozen.trainable)
    trained = part(params, keep)
    updates, optimizer_state = optimizer.update(part(grads, keep), state.optimizer, trained)
    updates = jax.tree.map(lambda u: u * rate, updates)
    updates = scale_updates(model, state.variables, x, updates, lambda factors: part(factors, keep))
    moved = whole(optax.apply_updates(trained, updates), params, keep)
    live = tuple(a and b for a, b in zip(keep, frozen.live, strict=True))
    statistics = _of_trained_layers(metrics.updates, state.variables, frozen.trainable, params, keep)
    variables = {**state.variables, **statistics, "params": whole(part(moved, live), params, live)}
    if model.after_update:
        variables = finish_update(model, variables, x)
        # Neither an optimizer's weight decay nor a projection moves what no gradient moves.
        variables = {**variables, "params": whole(part(variables["params"], live), params, live)}
    return State(variables, optimizer_state)


def _of_trained_layers(updates: Variables, before: Variables, trainable, params, keep) -> Variables:
    """The updates, but for the statistics of frozen layers, which stay as they are."""
    if trainable is None:
        return updates
    names = [name for (name, _), kept in zip(named_leaves(params), keep, strict=True) if kept]
    layers = {name.rpartition("/")[0] for name in names}

    def choose(name, new, old):
        return new if name.rpartition("/")[0] in layers or any(re.search(p, name) for p in trainable) else old

    held = {}
    for collection, tree in updates.items():
        if collection in before and collection != THRESHOLD:  # an adaptive rule's threshold belongs to no layer
            names = (name for name, _ in named_leaves(tree))
            tree = jax.tree.map(lambda new, old: choose(next(names), new, old), tree, before[collection])  # noqa: B023
        held[collection] = tree
    return held


def scanned_epoch(step: Step):
    """(state, data, epoch) -> (state, (loss, metric, count) of each step [steps]): one XLA program."""

    def run(state: State, data: Data, epoch: Epoch):
        state = state._replace(variables=with_scheduled(state.variables, epoch.scheduled))
        numbers = jnp.arange(epoch.indices.shape[0])
        return lax.scan(lambda carry, number: step(carry, data, epoch, number), state, numbers)

    return run
