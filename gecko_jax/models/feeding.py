"""Which layers feed which, read off the traced forward pass: what has to change if a layer loses outputs.

A value carries the layers whose products it is computed from without another product between: its feeders. A residual
sum and a concatenation have several; a chain has one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from gecko_jax import programs
from gecko_jax.trees import named_leaves
from gecko_jax.types import Array, Model, Variables

PRODUCTS = ("dot_general", "conv_general_dilated")
INPUT = "the network's input"


class Feeding(NamedTuple):
    """What one forward pass tells about the layers with a kernel.

    Attributes:
      feeders: {layer: the layers that its input comes from, INPUT among them}, in the order of the program.
      calls: {layer: how many products it computes}.
      beside: {layer: names of the variables that its outputs meet before the next product}: its bias, a normalization.
      grouped: the layers that are grouped convolutions.
      last: the layers that feed the network's outputs.
      kinds: {path: class name} of all modules.
    """

    feeders: dict[str, frozenset[str]]
    calls: dict[str, int]
    beside: dict[str, frozenset[str]]
    grouped: frozenset[str]
    last: frozenset[str]
    kinds: dict[str, str]


class _Mark(NamedTuple):
    """What a value is made of: the layers that feed it, and leaves of the variables that no product has taken in."""

    layers: frozenset[str] = frozenset()
    leaves: frozenset[str] = frozenset()


def feeding(model: Model, variables: Variables, x: Array) -> Feeding:
    """Traces `model.apply` in evaluation and returns which layers feed which.

    Args:
      model: any model.
      variables, x: its variables and inputs [b, ...], or their shapes.

    >>> import jax, jax.numpy as jnp
    >>> from gecko_jax import models
    >>> model, x = models.create("mlp", 3, hidden=(8,)), jnp.ones((1, 4))
    >>> feeding(model, jax.eval_shape(model.init, jax.random.key(0), x), x).feeders["logits"]
    frozenset({'dense1'})
    """
    with programs.layer_scopes() as kinds:
        program, _ = programs.trace(lambda variables, x: model.apply(variables, x)[0], variables, x)
    names = [name for name, _ in named_leaves(variables)]
    marks = [_Mark(leaves=frozenset([name])) for name in names]
    marks += [_Mark(layers=frozenset([INPUT]))] * (len(program.inputs) - len(names))
    feeders: dict[str, frozenset[str]] = {}
    calls: dict[str, int] = {}
    beside: dict[str, frozenset[str]] = {}
    grouped: set[str] = set()

    def through(step: programs.Step, inputs: list[_Mark]) -> list[_Mark]:
        joined = _join(*inputs)
        kernels = [mark.leaves for mark in inputs[:2] if mark.leaves and not mark.layers]
        if step.name in PRODUCTS and joined.layers and kernels:
            owner = "/".join(min(kernels[0]).split("/")[1:-1])
            feeders[owner] = feeders.get(owner, frozenset()) | joined.layers
            calls[owner] = calls.get(owner, 0) + 1
            if step.params.get("feature_group_count", 1) > 1:
                grouped.add(owner)
            return [_Mark(layers=frozenset([owner]))] * len(step.outputs)
        if not joined.layers:
            return [joined] * len(step.outputs)
        for layer in joined.layers:
            beside[layer] = beside.get(layer, frozenset()) | joined.leaves
        return [_Mark(layers=joined.layers)] * len(step.outputs)

    outputs: list[Any] = programs.flow(program, marks, _join, through).outputs
    return Feeding(feeders, calls, beside, frozenset(grouped), _join(*outputs).layers, kinds)


def _join(*marks: _Mark) -> _Mark:
    return _Mark(frozenset().union(*(m.layers for m in marks)), frozenset().union(*(m.leaves for m in marks)))
