"""One update, and one epoch of them as a single program."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from gecko_jax.hooks import scale_updates
from gecko_jax.privacy.cipher_keys import wrap_key
from gecko_jax.privacy.gradients import THRESHOLD
from gecko_jax.quantizers.ranges import RANGES
from gecko_jax.training.objectives import GradFn
from gecko_jax.training.pool import Data
from gecko_jax.training.schedules import LEARNING_RATE, with_scheduled
from gecko_jax.trees import named_leaves, select_leaves, take, trainable_leaves, with_leaves
from gecko_jax.types import Array, Batch, Model, StepMetrics, Variables


class State(NamedTuple):
    """Everything that training changes: a run that restores it continues to the same bits."""

    variables: Variables
    optimizer: optax.OptState


class Epoch(NamedTuple):
    """One epoch's rows and draws for one model (with a leading axis for several).

    Attributes:
      indices: int32 [steps, b], rows of the data.
      weight: float32 [steps, b].
      key: data (uint32 words) of the model's key in this epoch; step s draws from fold_in(key, first + s).
      scheduled: {name: its value in this epoch}, the factor "learning_rate" among them; see `schedules`.
      first: int32, the number of the first of these steps in the epoch that they were cut from; None: 0, the whole
        epoch. (A step's program, by which runs are told apart, has no such argument.)
    """

    indices: Array
    weight: Array
    key: Array
    scheduled: Mapping[str, Any]
    first: Array | None = None

    def row(self, model: Array | int) -> Epoch:
        """Returns the rows and draws of one of several models, or of some of them."""
        return self._replace(**{name: getattr(self, name)[model] for name in PER_MODEL})


PER_MODEL = ("indices", "weight", "key")  # the fields of an Epoch that have a leading axis for several models


Step = Callable[[State, Data, Epoch, Array], tuple[State, tuple[Array, Array, Array]]]


class UpdateRule(NamedTuple):
    """The parts of an update, the same for all models of a run.

    Attributes:
      model: for its hooks, `after_update` and `rates`.
      gradients: the gradient function, private or not.
      optimizer: an optax transformation.
      trainable: expressions of the parameters that the optimizer sees; None: all. See `fit_ensemble`.
    """

    model: Model
    gradients: GradFn
    optimizer: optax.GradientTransformation
    trainable: tuple[str, ...] | None


def make_step(rule: UpdateRule, skips: bool) -> Step:
    """Builds (state, data, epoch, step number) -> (state, (loss, metric, count)).

    Args:
      rule: the parts of an update.
      skips: whether an epoch may hold steps of padding alone, which must leave the state (and momentum) as it is.
    """

    def step(state: State, data: Data, epoch: Epoch, number: Array):
        rows = epoch.indices[number]
        x, y, extra = take((data.x, data.y, data.extras), rows)
        batch = Batch(x, y, epoch.weight[number], extra)
        drawn = number if epoch.first is None else epoch.first + number
        key = jax.random.fold_in(wrap_key(epoch.key), drawn)
        grads, metrics = rule.gradients(state.variables, batch, key)
        reached = getattr(rule.gradients, "live", _all_of)(state.variables, batch, key)
        new = _updated(rule, state, grads, metrics, reached, (epoch.scheduled[LEARNING_RATE], batch.x))
        if skips:
            new = jax.tree.map(lambda after, before: jnp.where(metrics.count > 0, after, before), new, state)
        return new, (metrics.loss, metrics.metric, metrics.count)

    return step


def _all_of(variables: Variables, batch: Batch, key: Array) -> tuple[bool, ...]:
    return (True,) * len(jax.tree.leaves(variables["params"]))


def _updated(rule: UpdateRule, state: State, grads, metrics: StepMetrics, reached: tuple[bool, ...], at) -> State:
    """Returns the state after an update.

    Args:
      rule, state, grads, metrics: of the step.
      reached: whether each parameter has a gradient path to the loss; one without it stays as it is.
      at: (factor on the learning rate, the batch's inputs).
    """
    params, (rate, x) = state.variables["params"], at
    keep = trainable_leaves(params, rule.trainable)
    trained = select_leaves(params, keep)
    updates, optimizer_state = rule.optimizer.update(select_leaves(grads, keep), state.optimizer, trained)
    updates = jax.tree.map(lambda u: u * rate, updates)
    updates = scale_updates(rule.model, state.variables, x, updates, lambda factors: select_leaves(factors, keep))
    moved = with_leaves(optax.apply_updates(trained, updates), params, keep)
    live = tuple(a and b for a, b in zip(keep, reached, strict=True))
    statistics = _of_trained_layers(metrics.updates, state.variables, rule.trainable, params, keep)
    variables = {**state.variables, **statistics, "params": with_leaves(select_leaves(moved, live), params, live)}
    for hook in rule.model.after_update:
        variables = hook(variables, x)
        # Neither an optimizer's weight decay nor a projection moves what no gradient moves. It is put back before the
        # next hook, because a running average would take up what the projection made of it.
        variables = {**variables, "params": with_leaves(select_leaves(variables["params"], live), params, live)}
    return State(variables, optimizer_state)


def _of_trained_layers(updates: Variables, before: Variables, trainable, params, keep) -> Variables:
    """Returns the new collections; the statistics of frozen layers stay as they are."""
    if trainable is None:
        return updates
    names = [name for (name, _), trained in zip(named_leaves(params), keep, strict=True) if trained]
    layers = {name.rpartition("/")[0] for name in names}

    def choose(name, new, old):
        return new if name.rpartition("/")[0] in layers or any(re.search(p, name) for p in trainable) else old

    collections = {}
    for collection, tree in updates.items():
        # An adaptive rule's threshold belongs to no layer, and a range to the layers before it.
        if collection in before and collection not in (THRESHOLD, RANGES):
            leaves = (name for name, _ in named_leaves(tree))
            tree = jax.tree.map(lambda new, old: choose(next(leaves), new, old), tree, before[collection])  # noqa: B023
        collections[collection] = tree
    return collections


def scanned_epoch(step: Step):
    """Builds (state, data, epoch) -> (state, (loss, metric, count) of each step [steps]), one XLA program."""

    def run(state: State, data: Data, epoch: Epoch):
        state = state._replace(variables=with_scheduled(state.variables, epoch.scheduled))
        numbers = jnp.arange(epoch.indices.shape[0])
        return lax.scan(lambda carry, number: step(carry, data, epoch, number), state, numbers)

    return run
