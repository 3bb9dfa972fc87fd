"""Finds the parameters with a gradient path to the loss, from the traced program and never from values.

A parameter that the loss does not read, or reads only behind `stop_gradient`, has a gradient that is 0 by the program's
structure. The program is public, so this is: such a parameter needs no noise and never moves. A gradient that merely
happens to be 0 (a dead unit, a factor of 0.0) is a value, may depend on data, and is noised.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gecko_jax.programs import Step, flow, trace
from gecko_jax.surroundings import surroundings
from gecko_jax.trees import example_shapes, named_leaves, shapes, trainable_leaves

# Primitives whose derivative is 0 everywhere. Integers and booleans have none either, by their type.
NO_DERIVATIVE = {"stop_gradient", "sign", "floor", "ceil", "round", "nextafter"}


def gradient_paths(loss: Callable[..., Any], variables: Any, batch: Any, key: Any = None) -> tuple[bool, ...]:
    """Tells which parameters have a gradient path to the loss, in the order of the tree's leaves.

    Args:
      loss: (variables, example, key) -> scalar, or (scalar, aux): ONE example.
      variables: with "params", or the parameters themselves.
      batch: examples with a leading axis [b]; only shapes are read.
      key: a key; None for a loss without one.
    """
    one = example_shapes(batch)
    return paths_of(loss, variables, one, key)


def paths_of(function: Callable[..., Any], variables: Any, *data: Any) -> tuple[bool, ...]:
    """Computes `gradient_paths` of any function (variables, *data) -> pytree whose first leaf is the loss."""
    leaves, structure = jax.tree.flatten((variables, data))
    leaf_shapes = tuple(shapes(leaves))
    try:
        return _paths(function, structure, leaf_shapes, surroundings())  # an interceptor may cut a path
    except TypeError as error:  # a function that has no hash is traced every time
        if "unhashable" not in str(error):
            raise
        return _paths.__wrapped__(function, structure, leaf_shapes)


def trained_leaves(
    loss: Callable[..., Any], variables: Any, batch: Any, key: Any, trainable: Sequence[str] | None
) -> tuple[bool, ...]:
    """Tells which parameters are trained: named by `trainable` and with a gradient path to the loss.

    Raises:
      ValueError: an expression of `trainable` that no path matches, or no parameter that is trained.
    """
    params = params_of(variables)
    live = gradient_paths(loss, variables, batch, key)
    keep = tuple(a and b for a, b in zip(trainable_leaves(params, trainable), live, strict=True))
    check_trains(params, keep, trainable)
    return keep


def check_trains(params: Any, keep: Sequence[bool], trainable: Sequence[str] | None) -> None:
    """Raises ValueError, with the paths, unless at least one parameter is trained."""
    if any(keep):
        return
    named = "" if trainable is None else f"trainable={tuple(trainable)!r} names only parameters without one. "
    raise ValueError(
        f"every parameter is frozen: none has a gradient path to the loss. {named}The loss must depend on a parameter "
        f"outside stop_gradient. The paths are: {', '.join(name for name, _ in named_leaves(params))}."
    )


def params_of(variables: Any) -> Any:
    """Returns variables["params"], or the variables themselves if they have no such entry."""
    return variables["params"] if isinstance(variables, Mapping) and "params" in variables else variables


@functools.lru_cache(maxsize=64)
def _paths(
    function: Callable[..., Any], structure: Any, shapes: tuple[Any, ...], around: Hashable = None
) -> tuple[bool, ...]:
    del around
    variables, data = jax.tree.unflatten(structure, shapes)
    params = params_of(variables)

    def loss(params_, variables_, data_):
        read = params_ if params is variables else {**variables_, "params": params_}
        return jax.tree.leaves(function(read, *data_))[0]

    program, _ = trace(loss, params, variables, data, differentiable=True)
    count = len(jax.tree.leaves(params))
    marks = [1 << number for number in range(count)] + [0] * (len(program.inputs) - count)
    [reached] = flow(program, marks, _join, _through).outputs
    return tuple(bool(reached >> number & 1) for number in range(count))


def _join(*marks: int) -> int:
    """Joins sets of parameters, written as bits: those that a gradient of any of the values reaches."""
    return functools.reduce(int.__or__, marks, 0)


def _through(step: Step, marks: list[int]) -> list[int]:
    """Returns the sets of a step's outputs; a step that is not opened passes everything on: rather too much noise."""
    joined = 0 if step.name in NO_DERIVATIVE else _join(*marks)
    return [joined if _has_gradient(aval) else 0 for aval in step.avals]


def _has_gradient(aval: Any) -> bool:
    aval = getattr(aval, "inner_aval", aval)
    return not hasattr(aval, "dtype") or jnp.issubdtype(aval.dtype, jnp.inexact)
