"""Model -> Model: the same network with dropout in front of its layers, in training alone."""

from __future__ import annotations

import functools
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core.tracers import current_trace
from jax.ad_checkpoint import checkpoint_name

from gecko_jax import checks, programs
from gecko_jax.keys import stream
from gecko_jax.models.blueprint import with_step
from gecko_jax.models.trace import find_rule, kernel_of, layer_input
from gecko_jax.programs import layer_path
from gecko_jax.surroundings import surroundings, traced_under
from gecko_jax.trees import shapes
from gecko_jax.types import Model, Variables

_MARK = "gecko_jax dropout:"


def with_dropout(model: Model, rate: float = 0.5, path: str = "") -> Model:
    """Drops each number of a layer's input with a chance, in training, and divides the others by 1 - rate.

    The layers are those that own a kernel, but the first one that is called: its input is data. A layer whose input is
    quantized is left out, because a dropped number would become another code and not an absent one. In evaluation the
    model and its variables are those without dropout.

    Args:
      model: a model of Linen modules.
      rate: chance of a number to be dropped, above 0 and below 1.
      path: a regular expression searched in the layers' paths ("block2/dense2", "logits"): only their inputs are
        dropped.

    Returns:
      The model with dropout.

    Raises:
      ValueError: a rate out of bounds, an invalid expression; when it is trained, no layer at such a path, one that
        nn.scan or nn.vmap repeats (all its repetitions would drop the same numbers), or no key to draw from.

    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014).

    >>> from gecko_jax import models
    >>> model, x = with_dropout(models.create("mlp", 2, hidden=(64,))), jnp.ones((1, 5))
    >>> variables = model.init(jax.random.key(0), x)
    >>> a, b = (model.apply(variables, x, key=jax.random.key(i), train=True)[0] for i in (1, 2))
    >>> bool((a == b).any()), model.apply(variables, x)[0].shape
    (False, (1, 2))
    """
    check_dropout(rate, path)
    return _with_dropout(model, float(rate), path)


def check_dropout(rate: float, path: str) -> None:
    """Raises ValueError for a rate or an expression that `with_dropout` does not take."""
    if not 0 < rate < 1:
        raise ValueError(f"rate={rate!r} must be above 0 and below 1: the chance of a number to be dropped.")
    try:
        re.compile(path)
    except re.error as error:
        raise ValueError(f"path={path!r} is not a regular expression: {error}.") from error


@functools.lru_cache(maxsize=64)
def _with_dropout(model: Model, rate: float, path: str) -> Model:
    """Returns one object for equal arguments, because repeated fits share the compiled program of the object."""

    def apply(variables: Variables, x: Any, *, key: jax.Array | None = None, train: bool = False):
        if not train:
            return model.apply(variables, x, key=key)
        if key is None:
            raise ValueError("key=None: dropout draws at random in training; pass the step's key.")
        layers: list[str] = []
        dropped: list[str] = []
        outermost, nested = current_trace(), set()

        def drop(next_fun, args, kwargs, context):
            module = context.module
            if context.method_name != "__call__" or kernel_of(module) is None:
                return next_fun(*args, **kwargs)
            layers.append(name := layer_path(module))
            rule = find_rule(model.rules, name)
            in_float = rule is None or rule.input is None or name in skipped
            if len(layers) == 1 or not in_float or not re.search(path, name):
                return next_fun(*args, **kwargs)
            if current_trace() != outermost:
                nested.add(name)
            draw = stream(key, "dropout", name, len(dropped))
            dropped.append(name)
            value = layer_input(args, kwargs)
            keep = jax.random.bernoulli(draw, 1 - rate, value.shape)
            value = jnp.where(keep, value / (1 - rate), 0).astype(value.dtype)
            if args:
                return next_fun(value, *args[1:], **kwargs)
            return next_fun(**{**kwargs, next(iter(kwargs)): value})

        skipped = model.skipped(variables, x) if model.skipped and model.rules else frozenset()
        with nn.intercept_methods(drop), traced_under(surroundings()):
            outputs = model.apply(variables, x, key=key, train=True)
        if nested:
            _refuse_repeated(model, nested, variables, x)
        if not dropped:
            raise ValueError(
                f"dropout at path={path!r} would drop nothing: of the layers {layers}, it leaves out the first, those "
                "that the path does not match, and those whose inputs are quantized. Name another path, or train "
                "without it."
            )
        return outputs

    return with_step(model._replace(apply=apply), "with_dropout", {"rate": rate, "path": path}, before=model.blueprint)


def _refuse_repeated(model: Model, nested: set[str], variables: Variables, x: Any) -> None:
    """Raises ValueError if a layer's mask would serve several of its repetitions; nn.jit and nn.remat repeat nothing.

    Args:
      model: without dropout.
      nested: paths of the layers that run inside a program of their own.
      variables, x: of the call.
    """
    ranks: dict[str, int] = {}

    def mark(next_fun, args, kwargs, context):
        if context.method_name == "__call__" and (name := layer_path(context.module)) in nested:
            value = layer_input(args, kwargs)
            ranks[name] = value.ndim
            checkpoint_name(value, _MARK + name)
        return next_fun(*args, **kwargs)

    def forward(variables, x, key):
        with nn.intercept_methods(mark), traced_under(object()):
            return model.apply(variables, x, key=key, train=True)[0]

    def repeated(program, in_loop):
        for step in program.steps:
            if step.name == "name" and step.params["name"].startswith(_MARK):
                name = step.params["name"].removeprefix(_MARK)
                if in_loop or step.avals[0].ndim > ranks[name]:
                    yield name
            for body in step.bodies:
                yield from repeated(body, in_loop or step.name in ("scan", "while"))

    key = jax.eval_shape(lambda: jax.random.key(0))
    program, _ = programs.trace(forward, *shapes((variables, x)), key)
    if names := sorted(set(repeated(program, False))):
        raise ValueError(
            f"nn.scan or nn.vmap repeats the layers {checks.listed(names)}, and dropout would draw one mask for all "
            'repetitions. Write nn.Dropout into the module, with split_rngs={"dropout": True}; write the layers out; '
            "or leave them out by path."
        )
