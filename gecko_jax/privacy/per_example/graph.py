"""A single-example loss as a flat list of steps, and which of them depend on parameters, on data, or on both.

A function with a derivative of its own (custom_vjp) and a loop (scan) stay one step each. Convolutions are computed in
a way that is right for many examples (`convolutions.by_windows`), in loops and branches, too; only those within a
user's own derivative stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeGuard

import jax
import jax.numpy as jnp
from jax.extend import core

from gecko_jax.convolutions.by_windows import by_windows, shared_kernel
from gecko_jax.programs import Constant, Program, Step, execute, flatten, read
from gecko_jax.programs import trace as trace_program

CONVOLUTION = "conv_general_dilated"


class Graph(NamedTuple):
    """A traced loss.

    Attributes:
      steps: in order.
      params: numbers of the parameters' leaves.
      data: numbers of the example's (and the key's) leaves.
      outputs: numbers (or Constants) of the results' leaves; the loss is the first.
      avals: shape and type of each number.
      mixed: numbers that depend on data.
      trained: numbers that depend on parameters.
    """

    steps: tuple[Step, ...]
    params: tuple[int, ...]
    data: tuple[int, ...]
    outputs: tuple[int | Constant, ...]
    avals: tuple[Any, ...]
    mixed: frozenset[int]
    trained: frozenset[int]

    def depends_on_data(self, value: int | Constant) -> TypeGuard[int]:
        """Tells whether a value differs between examples."""
        return not isinstance(value, Constant) and value in self.mixed

    def only_trained(self, value: int | Constant) -> TypeGuard[int]:
        """Tells whether a value depends on parameters and on no data."""
        return not isinstance(value, Constant) and value in self.trained and value not in self.mixed


def trace(function: Callable[..., Any], params: Any, data: Any) -> tuple[Graph, Any]:
    """Traces function(params, data) for shapes alone.

    Args:
      function: (params, data) -> pytree whose first leaf is the loss.
      params, data: pytrees of arrays or of their shapes.

    Returns:
      The graph, and the tree structure of the function's result.
    """
    program, shapes = trace_program(function, params, data, differentiable=True)
    count = len(jax.tree.leaves(params))
    mixed, trained = set(program.inputs[count:]), set(program.inputs[:count])
    for step in program.steps:  # a loop is one step here: what any of its outputs depends on, all depend on
        for marked in (mixed, trained):
            if any(value in marked for value in step.inputs if not isinstance(value, Constant)):
                marked.update(step.outputs)
    graph = Graph(
        tuple(_by_windows(step, mixed) for step in program.steps), program.inputs[:count], program.inputs[count:],
        program.outputs, program.avals, frozenset(mixed), frozenset(trained),
    )  # fmt: skip
    return graph, jax.tree.structure(shapes)


def _by_windows(step: Step, mixed: set[int] | None = None) -> Step:
    """Rewrites the convolutions of a step as products over windows; returns any other step as it is.

    Args:
      step: of a program.
      mixed: numbers that depend on data; None: all may. A kernel made of parameters alone is the same for all examples:
        only its gradient is each one's own.
    """
    if step.name == CONVOLUTION:
        kernel = step.inputs[1]
        shared = mixed is not None and (isinstance(kernel, Constant) or kernel not in mixed)
        compute = shared_kernel(step.primitive, step.params) if shared else by_windows(step.params)
        return step._replace(compute=compute)
    if not any(map(_has_convolution, step.bodies)):
        return step
    return step._replace(params={name: _with_windows(value) for name, value in step.params.items()})


def _with_windows(value: Any) -> Any:
    """Rewrites the convolutions of a loop's or a branch's jaxpr; returns anything else as it is."""
    if isinstance(value, tuple):
        return tuple(_with_windows(each) for each in value)
    if not isinstance(value, core.ClosedJaxpr):  # pyright: ignore[reportPrivateImportUsage]
        return value
    body = flatten(value, differentiable=True)
    if not _has_convolution(body):
        return value

    def run(*given):
        values = execute(map(_by_windows, body.steps), dict(zip(body.inputs, given, strict=True)))
        return [read(values, atom) for atom in body.outputs]

    return jax.make_jaxpr(run)(*value.in_avals)


def _has_convolution(program: Program) -> bool:
    """Tells whether a convolution is among the steps of a program, or in a loop of it."""
    return any(step.name == CONVOLUTION or any(map(_has_convolution, step.bodies)) for step in program.steps)


def replayed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the same function of (params, data) with its convolutions computed as products over windows."""

    def run(params, data):
        graph, structure = trace(function, params, data)
        start = dict(zip((*graph.params, *graph.data), jax.tree.leaves((params, data)), strict=True))
        values = execute(graph.steps, start)
        return structure.unflatten([read(values, atom) for atom in graph.outputs])

    return run


def is_float(aval: Any) -> bool:
    """Tells whether a value has a gradient; complex values have, between a transform and its inverse."""
    return jnp.issubdtype(aval.dtype, jnp.inexact)
