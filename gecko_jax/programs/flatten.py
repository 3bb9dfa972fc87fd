"""A traced function as a flat list of steps: calls that only wrap are opened; a loop or a branch stays one step.

Values are numbered. Nothing is computed here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend import core

from gecko_jax.programs.wrappers import LOOPS, MAPPED, body_of, opened


class Constant(NamedTuple):
    """A value known when the function was traced."""

    value: Any


class Step(NamedTuple):
    """One primitive: outputs = primitive(inputs).

    Attributes:
      primitive: JAX's.
      params: of its equation.
      inputs: numbers of values, or Constants.
      outputs: numbers of values.
      avals: shapes and types of the outputs.
      scope: the names around the call in the user's code, joined by "/"; those of Flax's modules are among them.
      bodies: of a loop or branches, in order: the body of a scan; the test and the body of a while; the branches.
      repeats: how often it runs: within a `shard_map` once on each device.
      compute: computes the outputs instead of the primitive; None: the primitive does.
    """

    primitive: Any
    params: dict[str, Any]
    inputs: tuple[int | Constant, ...]
    outputs: tuple[int, ...]
    avals: tuple[Any, ...]
    scope: str = ""
    bodies: tuple[Program, ...] = ()
    repeats: int = 1
    compute: Callable[..., Any] | None = None

    @property
    def name(self) -> str:
        """Returns the primitive's name, such as "dot_general"."""
        return self.primitive.name


class Call(NamedTuple):
    """A wrapper that was opened: its primitive's name, and what it was called with."""

    name: str
    inputs: tuple[int | Constant, ...]


class Program(NamedTuple):
    """A flat program.

    Attributes:
      steps: in order.
      inputs: numbers of the arguments' leaves.
      outputs: numbers, or Constants, of the results' leaves.
      avals: shape and type of each value, by its number.
      calls: the wrappers that were opened, in order.
    """

    steps: tuple[Step, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int | Constant, ...]
    avals: tuple[Any, ...]
    calls: tuple[Call, ...]


def every_step(program: Program) -> Iterator[Step]:
    """Yields the steps of a program, and those within its loops and branches.

    Args:
      program: a flat program.

    >>> import jax.numpy as jnp
    >>> program, _ = trace(lambda x: jax.lax.map(jnp.sin, x), jnp.ones(3))
    >>> [step.name for step in every_step(program)]
    ['scan', 'sin']
    """
    for step in program.steps:
        yield step
        for body in step.bodies:
            yield from every_step(body)


def trace(function: Callable[..., Any], *arguments: Any, differentiable: bool = False) -> tuple[Program, Any]:
    """Traces a function for the shapes of its arguments.

    Args:
      function: (*arguments) -> pytree of arrays.
      *arguments: pytrees of arrays, or of their shapes.
      differentiable: see `flatten`.

    Returns:
      The program, and the tree of the results' shapes.

    >>> import jax.numpy as jnp
    >>> program, _ = trace(lambda w, x: jax.nn.relu(x @ w), jnp.ones((3, 2)), jnp.ones(3))
    >>> [step.name for step in program.steps], program.steps[-1].avals[0].shape
    (['dot_general', 'max'], (2,))
    """
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
    return flatten(closed, differentiable=differentiable), shapes


def flatten(closed: Any, *, differentiable: bool = False, scope: str = "") -> Program:
    """Flattens a traced function.

    Args:
      closed: a ClosedJaxpr, as `jax.make_jaxpr` returns it.
      differentiable: leave wrappers with a derivative or a batching of their own closed, for steps that are executed
        under `jax.grad` or `jax.vmap`; by default they are opened like every other.
      scope: around the function.

    Returns:
      The program.

    >>> [step.name for step in flatten(jax.make_jaxpr(jax.jit(jax.numpy.sin))(1.0)).steps]
    ['sin']
    """
    walk = _Walk(differentiable)
    jaxpr = closed.jaxpr
    inputs = [walk.new(var.aval) for var in jaxpr.invars]
    outputs = walk.open(jaxpr, [Constant(const) for const in closed.consts], inputs, scope, 1)
    return Program(tuple(walk.steps), tuple(inputs), tuple(outputs), tuple(walk.avals), tuple(walk.calls))


class _Walk:
    """Numbers values while wrappers are opened."""

    def __init__(self, differentiable: bool):
        self.differentiable = differentiable
        self.steps: list[Step] = []
        self.avals: list[Any] = []
        self.calls: list[Call] = []

    def new(self, aval: Any) -> int:
        self.avals.append(aval)
        return len(self.avals) - 1

    def open(self, jaxpr: Any, consts: Sequence[Constant], inputs: Sequence[int | Constant], scope: str, repeats: int):
        """Adds the steps of a jaxpr; returns its outputs."""
        known: dict[Any, int | Constant] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *inputs], strict=True))

        def read(atom):
            return Constant(atom.val) if isinstance(atom, core.Literal) else known[atom]

        for equation in jaxpr.eqns:
            name, given = equation.primitive.name, tuple(read(atom) for atom in equation.invars)
            around = "/".join(part for part in (scope, str(equation.source_info.name_stack)) if part)
            body = body_of(equation) if opened(name, self.differentiable) else None
            if body is None:
                results = self._add(equation, given, around, repeats)
            else:
                self.calls.append(Call(name, given))
                inner, inside = body[0], [Constant(const) for const in body[1]]
                results = self.open(inner, inside, given, around, repeats * _devices(name, equation.params))
            known.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _add(self, equation: Any, given: tuple[int | Constant, ...], scope: str, repeats: int) -> list[int]:
        results = [self.new(var.aval) for var in equation.outvars]
        avals = tuple(var.aval for var in equation.outvars)
        bodies = self._bodies(equation, scope) if equation.primitive.name in LOOPS else ()
        self.steps.append(
            Step(equation.primitive, equation.params, given, tuple(results), avals, scope, bodies, repeats)
        )
        return results

    def _bodies(self, equation: Any, scope: str) -> tuple[Program, ...]:
        params = equation.params
        bodies = {
            "scan": lambda: (params["jaxpr"],),
            "while": lambda: (params["cond_jaxpr"], params["body_jaxpr"]),
            "cond": lambda: params["branches"],
        }[equation.primitive.name]()
        return tuple(flatten(body, differentiable=self.differentiable, scope=scope) for body in bodies)


def _devices(name: str, params: dict[str, Any]) -> int:
    """How many devices run a wrapper's program, each on its own part."""
    if name not in MAPPED:
        return 1
    mesh = params["mesh"]
    return math.prod(mesh.shape[axis] for axis in params.get("manual_axes", mesh.axis_names))
