"""A single-example loss as a flat list of steps, and which of them depend on parameters, on data, or on both.

Calls that only wrap (jit, remat) are opened; what carries a derivative of its own (custom_vjp) or a loop (scan) stays
one step. Convolutions are computed in a way that is right for many examples (`by_windows`), in loops and branches, too;
only those within a derivative of the user's own stay as they are. Values are numbered; nothing is computed here but by
`execute`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core

from gecko_jax.convolutions import by_windows, shared_kernel
from gecko_jax.types import Array

CONVOLUTION = "conv_general_dilated"
LOOPS = {"scan", "while", "cond"}
WRAPPERS = {"pjit", "jit", "closed_call", "core_call", "remat", "remat2", "checkpoint"}


class Constant(NamedTuple):
    """A value known when the loss was traced."""

    value: Any


class Step(NamedTuple):
    """One primitive: outputs = primitive(inputs); an input is a value's number or a Constant, -1 an unused output."""

    primitive: Any
    params: dict[str, Any]
    inputs: tuple[int | Constant, ...]
    outputs: tuple[int, ...]
    avals: tuple[Any, ...]  # shapes and types of the outputs
    source: str  # where the user's code called it: the path of the Flax module, or ""
    own: Callable[..., Any] | None = None  # computes the output in the primitive's place


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
    avals: Mapping[int, Any]
    mixed: frozenset[int]
    trained: frozenset[int]

    def depends_on_data(self, value: int | Constant) -> bool:
        """Whether a value differs between examples."""
        return not isinstance(value, Constant) and value in self.mixed

    def only_trained(self, value: int | Constant) -> bool:
        """Whether a value depends on parameters and on no data."""
        return not isinstance(value, Constant) and value in self.trained and value not in self.mixed


def trace(function: Callable[..., Any], params: Any, data: Any) -> tuple[Graph, Any]:
    """The graph of function(params, data) for shapes alone.

    Args:
      function: (params, data) -> pytree whose first leaf is the loss.
      params, data: pytrees of arrays or of their shapes.

    Returns:
      The graph, and the tree structure of the function's result.
    """
    closed, shape = jax.make_jaxpr(function, return_shape=True)(params, data)
    opened = _Opened()
    numbers = [opened.new(var.aval) for var in closed.jaxpr.invars]
    outputs = opened.open(closed.jaxpr, [Constant(const) for const in closed.consts], numbers, "")
    count = len(jax.tree.leaves(params))
    mixed, trained = set(numbers[count:]), set(numbers[:count])
    for step in opened.steps:
        for marked in (mixed, trained):
            if any(value in marked for value in step.inputs if not isinstance(value, Constant)):
                marked.update(step.outputs)
    # A kernel that is made of parameters alone is the same for all examples: only its gradient is each one's own.
    steps = [
        step._replace(own=shared_kernel(step.primitive, step.params))
        if step.own and (isinstance(step.inputs[1], Constant) or step.inputs[1] not in mixed)
        else step
        for step in opened.steps
    ]
    graph = Graph(
        tuple(steps), tuple(numbers[:count]), tuple(numbers[count:]), tuple(outputs), opened.avals,
        frozenset(mixed), frozenset(trained),
    )  # fmt: skip
    return graph, jax.tree.structure(shape)


class _Opened:
    """Numbers values while wrappers are opened."""

    def __init__(self):
        self.steps: list[Step] = []
        self.avals: dict[int, Any] = {}

    def new(self, aval) -> int:
        self.avals[len(self.avals)] = aval
        return len(self.avals) - 1

    def open(self, jaxpr, consts, inputs, source: str) -> list[int | Constant]:
        """Adds the steps of a jaxpr; returns its outputs."""
        known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *inputs], strict=True))

        def read(atom):
            return Constant(atom.val) if isinstance(atom, core.Literal) else known[atom]

        for equation in jaxpr.eqns:
            given = [read(atom) for atom in equation.invars]
            stack = str(equation.source_info.name_stack)
            path = "/".join(part for part in (source, stack) if part)
            if equation.primitive.name in WRAPPERS:
                inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
                inner, inner_consts = (inner.jaxpr, inner.consts) if hasattr(inner, "consts") else (inner, [])
                results = self.open(inner, [Constant(const) for const in inner_consts], given, path)
            else:
                results = [self.new(var.aval) for var in equation.outvars]
                avals = tuple(var.aval for var in equation.outvars)
                convolution = equation.primitive.name == CONVOLUTION
                own = by_windows(equation.params) if convolution else None
                options = equation.params
                if equation.primitive.name in LOOPS:
                    options = {name: _with_own_convolutions(value) for name, value in options.items()}
                self.steps.append(Step(equation.primitive, options, tuple(given), tuple(results), avals, path, own))
            known.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]


def _with_own_convolutions(value: Any) -> Any:
    """A loop's or branches' jaxpr with its convolutions by windows; anything else as it is."""
    if isinstance(value, tuple):
        return tuple(_with_own_convolutions(each) for each in value)
    if not isinstance(value, core.ClosedJaxpr) or not _has_convolution(value):
        return value

    def run(*given):
        opened = _Opened()
        numbers = [opened.new(var.aval) for var in value.jaxpr.invars]
        outputs = opened.open(value.jaxpr, [Constant(const) for const in value.consts], numbers, "")
        values = execute(opened.steps, dict(zip(numbers, given, strict=True)))
        return [read(values, atom) for atom in outputs]

    return jax.make_jaxpr(run)(*value.in_avals)


def _has_convolution(value: Any) -> bool:
    """Whether a convolution is among the equations of a jaxpr, or deeper in."""
    if isinstance(value, (tuple, list)):
        return any(_has_convolution(each) for each in value)
    if not hasattr(value, "eqns"):  # a jaxpr, closed or open
        return False
    return any(
        equation.primitive.name == CONVOLUTION or _has_convolution(list(equation.params.values()))
        for equation in value.eqns
    )


def replayed(function: Callable[..., Any]) -> Callable[..., Any]:
    """(params, data) -> what `function` gives for them, its convolutions computed as the steps of a graph are."""

    def run(params, data):
        graph, structure = trace(function, params, data)
        start = dict(zip((*graph.params, *graph.data), jax.tree.leaves((params, data)), strict=True))
        values = execute(graph.steps, start)
        return structure.unflatten([read(values, atom) for atom in graph.outputs])

    return run


def apply(step: Step, values: Iterable[Array]) -> list[Array]:
    """The step's outputs."""
    if step.own:
        return [step.own(*values)]
    result = step.primitive.bind(*values, **step.primitive.get_bind_params(step.params))
    return list(result) if step.primitive.multiple_results else [result]


def read(values: Mapping[int, Array], atom: int | Constant) -> Array:
    """A value by its number, or a constant's: NumPy's as JAX's, since a derivative of the user's own may index it."""
    if not isinstance(atom, Constant):
        return values[atom]
    return atom.value if isinstance(atom.value, (jax.Array, int, float, complex)) else jnp.asarray(atom.value)


def execute(steps: Iterable[Step], values: dict[int, Array]) -> dict[int, Array]:
    """`values` and all that the steps make of them."""
    values = dict(values)
    for step in steps:
        made = apply(step, [read(values, atom) for atom in step.inputs])
        values.update(zip(step.outputs, made, strict=True))
    return values


def is_float(aval: Any) -> bool:
    """Whether a value has a gradient; complex ones have, between a transform and its inverse."""
    return jnp.issubdtype(aval.dtype, jnp.inexact)
