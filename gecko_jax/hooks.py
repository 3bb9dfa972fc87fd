"""Hooks that transforms add to a model: functions after each update, factors on the rates, a collection of its own.

    masked = model._replace(after_update=(*model.after_update, lambda variables, x: {**variables, "params": ...}))

Hooks are chains, so that transforms compose: each adds its own and keeps those of the model that it is put on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax

from gecko_jax.json_values import dumps
from gecko_jax.types import Array, Model, Variables


def finish_update(model: Model, variables: Variables, x: Array) -> Variables:
    """Runs the model's `after_update` hooks, the first first; a training loop of your own calls it after each update.

    Args:
      model: any model.
      variables: its variables, the update applied.
      x: the batch of inputs [b, ...] of that update.

    Returns:
      The variables to go on with: the same ones if the model has no hook.

    >>> from gecko_jax.types import Model
    >>> halve = lambda variables, x: {"params": variables["params"] / 2}
    >>> finish_update(Model(None, None, after_update=(halve, halve)), {"params": 8.0}, None)
    {'params': 2.0}
    """
    for hook in model.after_update:
        variables = hook(variables, x)
    return variables


def scale_updates(model: Model, variables: Variables, x: Array, updates: Any, select: Callable[[Any], Any]) -> Any:
    """Multiplies the optimizer's updates by the factors of each of the model's `rates`.

    Args:
      model: any model.
      variables: its variables before the update.
      x: the batch of inputs [b, ...].
      updates: a tree of the trained parameters alone.
      select: takes that part out of a tree of all parameters.

    >>> halved = Model(None, None, rates=(lambda variables, x: {"kernel": 1.0, "bias": 0.5},))
    >>> scale_updates(halved, {}, None, {"bias": -8.0}, select=lambda factors: {"bias": factors["bias"]})
    {'bias': -4.0}
    """
    for rates in model.rates:
        updates = jax.tree.map(lambda update, factor: update * factor, updates, select(rates(variables, x)))
    return updates


def refuse_collection(owner: str, name: str, options: Mapping[str, Any]) -> None:
    """Raises ValueError for a schedule or a start of a collection that a way of training adds and sets itself.

    Args:
      owner: name of the training method; shown in the error message.
      name: of the collection.
      options: of `training.fit_ensemble`, as the caller gave them.

    >>> refuse_collection("continuation", "share", {"schedules": {"share": lambda share: 1.0}})
    Traceback (most recent call last):
    ...
    ValueError: schedules holds 'share', which 'continuation' sets itself, and yours would be overwritten; leave it out.
    """
    for option in ("schedules", "init"):
        if isinstance(value := options.get(option), Mapping) and name in value:
            raise ValueError(
                f"{option} holds {name!r}, which {owner!r} sets itself, and yours would be overwritten; leave it out."
            )


def with_collection(
    model: Model,
    name: str,
    start: Callable[[Variables], Any],
    update: Callable[[Any, Variables, Array], Any] | None = None,
) -> Model:
    """Adds a collection to a model's variables, which the model's own functions never see.

    Training carries the collection from step to step and writes it into checkpoints.

    Args:
      model: any model.
      name: of the collection.
      start: (the model's variables at init) -> the collection's first value, a pytree.
      update: (collection, the other variables, x) -> the collection after an update. It runs after the model's own
        hooks. None: the collection changes in another way, such as a GradFn's `StepMetrics.updates`, or not at all.

    Returns:
      A model that can be quantized, averaged or given another collection in turn.

    Raises:
      ValueError: at init, a model that has a collection of that name already.

    >>> import flax.linen as nn, jax, jax.numpy as jnp
    >>> from gecko_jax.models import from_linen
    >>> counted = with_collection(from_linen(nn.Dense(2)), "steps", lambda _: 0, lambda count, variables, x: count + 1)
    >>> variables = counted.init(jax.random.key(0), jnp.ones((1, 3)))
    >>> finish_update(counted, variables, None)["steps"]
    1
    """

    def others(variables: Variables) -> dict[str, Any]:
        return {collection: tree for collection, tree in variables.items() if collection != name}

    def init(key, x):
        variables = model.init(key, x)
        if name in variables:
            raise ValueError(f"model has a collection {name!r} already: put the transform that adds it on once.")
        return {**variables, name: start(variables)}

    def reading(function):
        return None if function is None else lambda variables, x: function(others(variables), x)

    def changing(hook):
        return lambda variables, x: {**hook(others(variables), x), name: variables[name]}

    def updated(variables, x):
        return variables if update is None else {**variables, name: update(variables[name], others(variables), x)}

    return model._replace(
        init=init,
        apply=lambda variables, x, **options: model.apply(others(variables), x, **options),
        skipped=reading(model.skipped),
        weights=reading(model.weights),
        after_update=(*map(changing, model.after_update), *([updated] if update else [])),
        rates=tuple(map(reading, model.rates)),
        blueprint=(*model.blueprint, ("with_collection", dumps({"name": name}))),
    )
