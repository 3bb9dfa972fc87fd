"""Lists the layers of a forward pass that own a kernel, in call order, with the quantizers in force on them."""

from __future__ import annotations

import functools
import re
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from flax.core.tracers import current_trace

from gecko_jax import programs
from gecko_jax.models.axes import WeightAxes, lifted, told_by_product, weight_axes
from gecko_jax.models.lifting import mark, seen_axes
from gecko_jax.programs import layer_path
from gecko_jax.surroundings import plain, traced_under
from gecko_jax.trees import named_leaves, shapes
from gecko_jax.types import Array, Model, Quantizer, Rule, Variables

WEIGHTS = ("kernel", "embedding")
_NORMALIZATIONS = (nn.BatchNorm, nn.GroupNorm, nn.InstanceNorm, nn.LayerNorm, nn.RMSNorm, nn.WeightNorm)


class Call(NamedTuple):
    """One call of a layer that owns a kernel. Shapes include the batch axis; None stands for float."""

    path: str
    kind: str
    input: tuple[int, ...]
    output: tuple[int, ...]
    weight: Quantizer | None
    inputs: Quantizer | None
    kernel: tuple[int, ...]


class Traced(NamedTuple):
    """All that one forward pass tells about a model.

    Attributes:
      calls: as `trace` returns them.
      logits: shape of the output.
      axes: {name of a weight ("Dense_0/kernel"): its axes} of the layers in `calls`; None if they cannot be told.
      ranks: {name of a parameter: how many axes the module that owns it sees}, 0 of a normalization; a parameter that
        no module was seen to own is missing.
      nested: paths of the layers that run inside a program of their own (nn.jit, nn.remat, nn.scan, nn.vmap).
    """

    calls: tuple[Call, ...]
    logits: tuple[int, ...]
    axes: dict[str, WeightAxes | None]
    ranks: dict[str, int]
    nested: frozenset[str]


def kernel_of(module: nn.Module) -> Array | None:
    """Returns the kernel (or embedding) that a bound layer owns, or None."""
    return _weight_of(module)[1]


def _weight_of(module: nn.Module) -> tuple[str, Array | None]:
    for name in WEIGHTS if module.scope is not None else ():  # a module outside a call owns nothing
        weight: Any = module.get_variable("params", name) if module.has_variable("params", name) else None
        if hasattr(weight, "shape"):
            return name, weight
    return "", None


def layer_input(args: tuple, kwargs: dict) -> Any:
    """Returns the first argument of a call, by position or by name; None for a call without arguments."""
    return args[0] if args else next(iter(kwargs.values()), None)


def find_rule(rules: tuple[Rule, ...], path: str) -> Rule | None:
    """Returns the first rule whose expression matches the path."""
    return next((rule for rule in rules if re.search(rule.path, path)), None)


def trace(model: Model, variables: Variables, x: Array) -> list[Call]:
    """Lists the layers of one forward pass in call order; nothing is computed.

    Args:
      model: any model made of Linen modules.
      variables: its variables (or their shapes).
      x: a batch of inputs [b, ...] (or its shape).

    Returns:
      One `Call` for each call of a layer that owns a kernel; a layer that is called twice stands there twice. What
      gives away its kernel instead of an array (the gates of `nn.OptimizedLSTMCell`) is not a layer, and in a loop of
      Flax's own (`nn.scan`, `nn.RNN`) a layer stands once for each time that Flax traces the body, not once a step.

    >>> import flax.linen as nn, jax, jax.numpy as jnp
    >>> from gecko_jax.models import from_linen
    >>> model, x = from_linen(nn.Dense(3)), jnp.ones((2, 4))
    >>> [(call.kind, call.output) for call in trace(model, model.init(jax.random.key(0), x), x)]
    [('Dense', (2, 3))]
    """
    return list(traced(model, variables, x).calls)


def logits_shape(model: Model, variables: Variables, x: Array) -> tuple[int, ...]:
    """Returns the shape of the model's output on x; nothing is computed.

    Args:
      model, variables, x: as of `trace`.

    >>> from gecko_jax.models import from_linen
    >>> model, x = from_linen(nn.Dense(3)), jax.numpy.ones((2, 4))
    >>> logits_shape(model, model.init(jax.random.key(0), x), x)
    (2, 3)
    """
    return traced(model, variables, x).logits


def traced(model: Model, variables: Variables, x: Array) -> Traced:
    """Returns what `trace` returns, and all else that one forward pass shows.

    It is what the model does by itself: interceptors that are active around the call take no part, nor what another
    tool has put in the place of Linen's layers. It is kept for a model and shapes, because a trace costs more than a
    short training of a small model, unless the owner of a parameter of two
    axes or more was not seen, which something may have hidden.

    Args:
      model, variables, x: as of `trace`.
    """
    try:
        return _kept(model, *_shapes(variables, x), _settings())
    except _Hidden as hidden:
        return hidden.args[0]


def _shapes(variables: Variables, x: Array) -> tuple[Any, tuple[jax.ShapeDtypeStruct, ...]]:
    """Structure and leaves' shapes of (variables, x), hashable."""
    leaves, structure = jax.tree.flatten((variables, x))
    return structure, tuple(shapes(leaves))


def _settings() -> tuple:
    """The settings of JAX that a trace depends on beside its arguments."""
    config: Any = jax.config
    return config.jax_enable_x64, config.jax_numpy_dtype_promotion, config.jax_numpy_rank_promotion


class _Hidden(Exception):
    """A trace that must not be kept, in which some module may not have been seen: no cache keeps an exception."""


@functools.lru_cache(maxsize=256)
def _kept(model: Model, structure: Any, leaves: tuple[jax.ShapeDtypeStruct, ...], settings: tuple) -> Traced:
    del settings
    result = _traced(model, structure, leaves)
    params = named_leaves(jax.tree.unflatten(structure, leaves)[0]["params"])
    if any(len(leaf.shape) > 1 and name not in result.ranks for name, leaf in params):
        raise _Hidden(result)
    return result


def _traced(model: Model, structure: Any, leaves: tuple[jax.ShapeDtypeStruct, ...]) -> Traced:
    variables, x = jax.tree.unflatten(structure, leaves)
    skipped = model.skipped(variables, x) if model.skipped else frozenset()
    stored = {name: len(leaf.shape) for name, leaf in named_leaves(variables["params"])}
    calls: list[Call] = []
    seen: dict[str, WeightAxes] = {}
    ranks: dict[str, int] = {}
    nested, foreign, outside = set(), set(), []

    def record(next_fun, args, kwargs, context):
        output = next_fun(*args, **kwargs)
        module = context.module
        if module.scope is None:
            return output
        path = layer_path(module)
        for name, leaf in module.variables.get("params", {}).items():
            if hasattr(leaf, "shape"):
                ranks[_join(path, name)] = 0 if isinstance(module, _NORMALIZATIONS) else len(leaf.shape)
        given, (name, kernel) = layer_input(args, kwargs), _weight_of(module)
        called = context.method_name == "__call__" and hasattr(given, "shape") and hasattr(output, "shape")
        if called and kernel is not None:
            rule = None if path in skipped else find_rule(model.rules, path)
            weight, inputs = (rule.weight, rule.input) if rule else (None, None)
            weight = weight if len(kernel.shape) > 1 else None
            calls.append(
                Call(path, type(module).__name__, given.shape, output.shape, weight, inputs, tuple(kernel.shape))
            )
            name = _join(path, name)
            seen.setdefault(name, weight_axes(module, len(kernel.shape), args, kwargs))
            if 1 < len(kernel.shape) <= stored.get(name, 0):
                mark(kernel, name)  # each time: Flax traces the body of a loop more than once, and keeps the last
            if not type(module).__module__.startswith("flax.") and not hasattr(module, "output_axes"):
                foreign.add(name)
            if current_trace() != outside[0]:
                nested.add(path)
        return output

    def forward(variables, x):
        outside.append(current_trace())
        return model.apply(variables, x)[0]

    names = [(name, len(leaf.shape)) for name, leaf in named_leaves(variables)]
    names = [(name.removeprefix("params/") if name.startswith("params/") else "", rank) for name, rank in names]
    for key in (None, object()):
        with plain(), nn.intercept_methods(record), traced_under(key):
            program, logits = programs.trace(forward, variables, x)
        traced = seen_axes(program, names, {name: len(own.order) for name, own in seen.items()})
        if not traced.jitted or key is not None:
            break
        # nn.jit may have kept a program in which no layer shows: again, under a key that nobody else has.
        for collected in (calls, seen, ranks, nested, outside, foreign):
            collected.clear()
    axes = {name: own if len(own.order) == stored.get(name) else None for name, own in seen.items()}
    for name, places in traced.axes.items():
        axes[name] = own = lifted(seen[name], places, stored[name])
        if name in foreign and name in traced.unsummed:
            axes[name] = told_by_product(own, places, traced.unsummed[name])
    return Traced(tuple(calls), jax.tree.map(lambda leaf: leaf.shape, logits), axes, ranks, frozenset(nested))


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
