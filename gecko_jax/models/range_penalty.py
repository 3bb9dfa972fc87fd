"""Model -> Model: the same network with a penalty on the inputs of its activations, which training adds to the loss."""

from __future__ import annotations

import functools
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core.tracers import current_trace

from gecko_jax import checks
from gecko_jax.activations import Activation
from gecko_jax.activations.penalties import RangePenalty
from gecko_jax.hooks import with_collection
from gecko_jax.losses.penalized import Penalized
from gecko_jax.models.blueprint import with_step
from gecko_jax.models.trace import layer_input
from gecko_jax.programs import layer_path
from gecko_jax.surroundings import surroundings, traced_under
from gecko_jax.types import Array, Model, Variables

WEIGHT, POWER = "penalty_weight", "penalty_power"  # the collections, which schedules may set


def with_range_penalty(model: Model, penalty: RangePenalty, weight: float = 5e-5, path: str = "") -> Model:
    """Adds weight * sum over activations of penalty(z) to each example's loss, with z the activation's input.

    It needs nothing else: `training.fit`, `fit_ensemble`, `distill`, `Recipe` and private training add the penalty to
    whatever loss they are given, and clip its gradient with the loss's. In evaluation the model is the one without the
    penalty, and a metric never sees it. "penalty_weight" and, if the penalty has one, "penalty_power" are collections
    that a schedule may set: schedules={"penalty_power": training.linear(0, 0.1, 4, 10)}.

    Args:
      model: a model of Linen modules that calls activations of `gecko_jax.activations`.
      penalty: such as `activations.pillar(bound=4.8)`.
      weight: above 0, of the penalty against the loss.
      path: a regular expression searched in the activations' paths ("block1/Relu_0"): only these are penalized.

    Returns:
      A model whose variables hold one or two collections more; `without_penalty_state` removes them.

    Raises:
      ValueError: something else than a RangePenalty, a weight that is not above 0, an invalid expression; when it is
        trained, no activation at such a path, or one inside nn.jit, nn.remat, nn.scan or nn.vmap.

    >>> from gecko_jax import activations, models
    >>> net = models.create("mlp", 2, hidden=(3,))
    >>> model, x = with_range_penalty(net, activations.outside(0.1), weight=0.5), jnp.ones((4, 5))
    >>> variables = model.init(jax.random.key(0), x)
    >>> outputs, penalty = model.apply(variables, x, train=True)[0]
    >>> outputs.shape, penalty.shape, model.apply(variables, x)[0].shape
    ((4, 2), (4,), (4, 2))
    """
    if not isinstance(penalty, RangePenalty):
        raise ValueError(f"penalty={penalty!r} must be a RangePenalty, such as activations.pillar(bound=4.8).")
    checks.positive("weight", weight)
    try:
        re.compile(path)
    except re.error as error:
        raise ValueError(f"path={path!r} is not a regular expression: {error}.") from error
    states = {WEIGHT: {"weight": float(weight)}}
    if penalty.power is not None:
        states[POWER] = {"power": penalty.power}
    changed = model
    for name, state in states.items():
        changed = with_collection(changed, name, functools.partial(_start, state))

    def apply(variables: Variables, x: Any, *, key: Array | None = None, train: bool = False):
        inner = without_penalty_state(variables)
        if not train:
            return model.apply(inner, x, key=key)
        power = variables[POWER]["power"] if penalty.power is not None else None
        values, outermost = [], current_trace()

        def note(next_fun, args, kwargs, context):
            module = context.module
            inside = isinstance(module.parent, Activation)  # of a mixture, which is penalized itself
            if context.method_name == "__call__" and isinstance(module, Activation) and not inside:
                name = layer_path(module)
                if re.search(path, name):
                    _check_outermost(name, outermost)
                    z = layer_input(args, kwargs)
                    z = z.astype(jnp.promote_types(z.dtype, jnp.float32))
                    values.append(jax.vmap(lambda z: penalty.apply(z, power))(z))
            return next_fun(*args, **kwargs)

        with nn.intercept_methods(note), traced_under(surroundings()):
            outputs, updates = model.apply(inner, x, key=key, train=True)
        if not values:
            raise ValueError(
                f"the model calls no activation of gecko_jax.activations at a path that {path!r} matches, so that the "
                "range penalty would add nothing. Use them in your module (activations.Relu()(x) for nn.relu(x)), or "
                "name another path."
            )
        return Penalized(outputs, variables[WEIGHT]["weight"] * sum(values)), updates

    settings = {"penalty": penalty.name, "bound": penalty.bound, "power": penalty.power, "weight": weight, "path": path}
    return with_step(changed._replace(apply=apply), "with_range_penalty", settings, before=model.blueprint)


def without_penalty_state(variables: Variables) -> dict[str, Any]:
    """Returns the variables of the model without its range penalty, such as those to deploy.

    Args:
      variables: of a model with a range penalty, or of any other.

    >>> without_penalty_state({"params": {}, "penalty_weight": {"weight": 1.0}})
    {'params': {}}
    """
    return {name: tree for name, tree in variables.items() if name not in (WEIGHT, POWER)}


def _start(state: dict[str, float], variables: Variables) -> dict[str, Array]:
    del variables
    return {name: jnp.float32(value) for name, value in state.items()}


def _check_outermost(path: str, outermost: Any) -> None:
    """Raises ValueError for an activation in a program of its own, whose values cannot be read from outside."""
    if current_trace() != outermost:
        raise ValueError(
            f"the activation {path!r} runs inside nn.jit, nn.remat, nn.scan or nn.vmap, where its values cannot be "
            "penalized. Write the layers out, or leave it out by `path`."
        )
