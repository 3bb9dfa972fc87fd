"""Checks a model's hooks on shapes before training: what they return would otherwise fail inside a compiled loop.

In a private run they must not compute with the inputs either, which would reach the variables without noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import checks
from gecko_jax.models.fine_tuning import PARTS
from gecko_jax.models.range_penalty import WEIGHT
from gecko_jax.models.removed_weights import GROWTH, MASKS
from gecko_jax.privacy.cipher_keys import key_shape
from gecko_jax.programs import flow, trace
from gecko_jax.trees import named_leaves, trainable_leaves
from gecko_jax.types import Model, Variables


def check_hooks(model: Model, variables: Variables, x: Any) -> None:
    """Raises ValueError unless every hook of the model returns what training can go on with.

    Args:
      model: any model.
      variables: its variables, as shapes.
      x: a batch of inputs, as shapes.

    Raises:
      ValueError: `after_update` or `rates` that is not a tuple of functions; a function of `after_update` that adds,
        drops or reshapes a variable or changes its dtype; one of `rates` whose factors are not one for each parameter,
        or do not broadcast to it.
    """
    for field in ("after_update", "rates"):
        chain = getattr(model, field)
        if not isinstance(chain, tuple) or not all(callable(hook) for hook in chain):
            raise ValueError(
                f"model.{field}={chain!r} must be a tuple of functions (variables, x) -> ...: write "
                f"model._replace({field}=(*model.{field}, hook))."
            )
    for number, hook in enumerate(model.after_update):
        _compare(f"model.after_update[{number}]", _shapes(hook, variables, x), variables, _is_same)
    for number, hook in enumerate(model.rates):
        _compare(f"model.rates[{number}]", _shapes(hook, variables, x), variables["params"], _broadcasts)


def check_observer(observe: Any) -> None:
    """Raises ValueError unless `observe` of a run is a function, or None."""
    if observe is not None and not callable(observe):
        raise ValueError(f"observe={observe!r} must be a function (epochs done, variables) -> ..., or None.")


def check_unread(gradients: Any, model: Model, variables: Variables, x: Any, is_fresh: bool) -> None:
    """Raises ValueError if noised gradients are not all through which the inputs reach the variables of a private run.

    The hooks see the batch, and `init` sees a row. What they compute from its values is neither clipped nor noised, and
    no epsilon covers it. To read its shapes, or to trace the model for its layers, is harmless. The program decides.

    Args:
      gradients: of the run; only those that hold noise and carry `settings` are judged.
      model: any model.
      variables, x: one model's variables and one step's inputs, as shapes.
      is_fresh: whether the variables start from `model.init`, and not from the caller's.

    Raises:
      ValueError: a hook or an `init` whose results depend on the values of x.
    """
    settings = getattr(gradients, "settings", None)
    if settings is None or not settings.noise_multiplier:
        return
    chains = {field: getattr(model, field) for field in ("after_update", "rates")}
    for field, chain in chains.items():
        for number, hook in enumerate(chain):
            way = "Let it read the variables and the shape of x alone"
            _refuse_reading(f"model.{field}[{number}]", hook, variables, x, way)
    if is_fresh:
        key = jax.eval_shape(lambda: jax.random.key(0))
        way = "Start from public inputs: pass fit(..., init=model.init(key, public_x))"
        _refuse_reading("model.init", model.init, key, x, way)


def check_penalty(gradients: Any, variables: Variables, batch: Any) -> None:
    """Raises ValueError if the model has a range penalty that the gradients do not follow.

    Gradients that were made for the model without its penalty would train without it, and nothing would show. Nor may a
    sparse network grow by gradients that nothing measures, see `check_growth`.

    Args:
      gradients: of the run.
      variables, batch: one model's variables and one step's rows, as shapes.
    """
    check_growth(gradients, variables)
    if WEIGHT not in variables:
        return
    key = key_shape(gradients)
    program, (slopes, _) = trace(gradients, variables, batch, key)
    marks = [name.partition("/")[0] == WEIGHT for name, _ in named_leaves(variables)]
    marks += [False] * len(jax.tree.leaves((batch, key)))
    reached = flow(program, marks, lambda *marks: any(marks)).outputs
    if not any(reached[: len(jax.tree.leaves(slopes))]):
        raise ValueError(
            "model has a range penalty, which the gradients do not follow: they were made for another model. Make them "
            "for this one, as in batch_gradients(model, loss) or private_training(model, ...)."
        )


def check_growth(gradients: Any, variables: Variables) -> None:
    """Raises ValueError if a sparse network would grow by gradients that nothing measures, or that are not private.

    Args:
      gradients: of the run.
      variables: one model's, as shapes.
    """
    if GROWTH not in variables or getattr(gradients, "follows_growth", False):
        return
    if getattr(gradients, "settings", None) is not None:
        raise ValueError(
            'gradients are private, and growth="gradient" or "momentum" of dynamic_sparse would choose the weights by '
            'gradients that are neither clipped nor noised. Take growth="random", which no record of the data decides.'
        )
    raise ValueError(
        'gradients do not measure those of absent weights, by which growth="gradient" or "momentum" of dynamic_sparse '
        'grows: pass gradients=batch_gradients(model, loss), or take growth="random".'
    )


def check_frozen(variables: Variables, trainable: Sequence[str] | None, init: Variables | None) -> None:
    """Raises ValueError if what is frozen would stay untrained, or whole though the model prunes it.

    Nor does what is trained start in a type with fewer digits than the model's own, in which small updates are lost.

    Args:
      variables: one model's, as shapes.
      trainable: see `fit`.
      init: values that training starts from, with any leading axes; None: those of `model.init`.
    """
    names = [name for name, _ in named_leaves(variables["params"])]
    is_trained = dict(zip(names, trainable_leaves(variables["params"], trainable), strict=True))
    start = dict(named_leaves(init["params"])) if init is not None else {}
    beside = [name for name, trained in is_trained.items() if trained and name.startswith(f"{PARTS}/")]
    if beside and init is None and not all(is_trained.values()):
        raise ValueError(
            f"trainable names {checks.listed(beside)}, which stand beside a frozen network, and init=None would leave "
            "that network untrained. Pass init=fine_tuning.start(model, pretrained, key, x)."
        )
    for name, leaf in named_leaves(variables["params"]):
        dtype = jnp.result_type(start[name]) if name in start and is_trained[name] else leaf.dtype
        if jnp.promote_types(dtype, leaf.dtype) != dtype and not jnp.issubdtype(dtype, jnp.float32):
            raise ValueError(
                f"init[{name!r}] has dtype {dtype} and is trained; the model's own is {leaf.dtype}, and an update "
                f"smaller than its last digit would be lost. Cast it: jnp.asarray(leaf, jnp.{leaf.dtype})."
            )
    for name in variables.get(MASKS, {}):
        if not is_trained[name] and (name not in start or np.all(np.asarray(start[name]) != 0)):
            raise ValueError(
                f"{name!r} is pruned by the model and not trained, so that no weight of it would be removed. Add it to "
                "trainable=, leave it out of pruned(model, path=...), or start from a network that was pruned before."
            )


def _refuse_reading(name: str, function: Callable[..., Any], first: Any, x: Any, way: str) -> None:
    program, shapes = trace(function, first, x)
    marks = [False] * len(jax.tree.leaves(first)) + [True] * len(jax.tree.leaves(x))
    reached = flow(program, marks, lambda *marks: any(marks)).outputs
    leaves = [leaf for (leaf, _), mark in zip(named_leaves(shapes), reached, strict=True) if mark]
    if leaves:
        raise ValueError(
            f"{name} computes {checks.listed(leaves)} from the values of x, the inputs trained on, which are neither "
            f"clipped nor noised there: the run would not be private, whatever its epsilon. {way}."
        )


def _shapes(hook: Callable[..., Any], variables: Variables, x: Any) -> Any:
    return jax.eval_shape(hook, variables, x)


def _compare(hook: str, actual: Any, expected: Any, fits: Callable[[Any, Any], bool]) -> None:
    there, wanted = dict(named_leaves(actual)), dict(named_leaves(expected))
    for name in [*there, *wanted]:
        if name not in wanted or name not in there:
            what = "adds" if name not in wanted else "drops"
            raise ValueError(f"{hook} {what} {name!r}; it must return the tree that it is given.")
        if not fits(there[name], wanted[name]):
            raise ValueError(f"{hook} returns {name!r} as {_show(there[name])}; expected {_show(wanted[name])}.")


def _is_same(leaf: Any, expected: Any) -> bool:
    return (leaf.shape, leaf.dtype) == (expected.shape, expected.dtype)


def _broadcasts(factor: Any, parameter: Any) -> bool:
    try:
        return np.broadcast_shapes(factor.shape, parameter.shape) == tuple(parameter.shape)
    except ValueError:
        return False


def _show(leaf: Any) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}"
