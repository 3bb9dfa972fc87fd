"""Finds what each value of a program depends on: one walk through loops, branches and mutable references.

A mark says what a value depends on: a set of names, a set of bits, a flag. The reader passes the inputs' marks and a
way to join marks. A loop is walked until no mark of its carry grows: then the marks hold in every run of its body.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gecko_jax.programs.flatten import Constant, Program, Step
from gecko_jax.programs.loops import scan_counts

Join = Callable[..., Any]  # (*marks) -> mark; of no marks: that of a constant
Through = Callable[[Step, list[Any]], list[Any]]  # (step without bodies, marks of its inputs) -> those of its outputs


class Marks(NamedTuple):
    """What reaches each value of a program, by its number, and what reaches each of its outputs."""

    values: list[Any]
    outputs: list[Any]


def flow(program: Program, marks: Sequence[Any], join: Join, through: Through | None = None) -> Marks:
    """Finds the marks of all values.

    Args:
      program: a flat program.
      marks: of its inputs.
      join: (*marks) -> the mark of a value made of all of them; of none, that of a constant.
      through: (step, its inputs' marks) -> marks of its outputs, for every step but loops and branches; None: each
        output depends on all inputs.

    Returns:
      The Marks of all values and of the outputs.

    >>> import jax, jax.numpy as jnp
    >>> from gecko_jax.programs.flatten import trace
    >>> one = lambda c, x: ((c[0] + c[1], c[1] * x), c[0])
    >>> program, _ = trace(lambda a, b, x: jax.lax.scan(one, (a, b), x), 1.0, 1.0, jnp.ones(3))
    >>> flow(program, ["a", "b", "x"], lambda *marks: "".join(sorted(set("".join(marks))))).outputs
    ['abx', 'bx', 'abx']
    """
    known = [join()] * len(program.avals)
    for number, mark in zip(program.inputs, marks, strict=True):
        known[number] = mark

    def read(atom):
        return join() if isinstance(atom, Constant) else known[atom]

    for step in program.steps:
        inputs = [read(atom) for atom in step.inputs]
        if step.bodies:
            results = bodies(step, inputs, join, through)[1]
        else:
            results = through(step, inputs) if through else [join(*inputs)] * len(step.outputs)
        for number, mark in zip(step.outputs, results, strict=True):
            known[number] = mark
        for atom in step.inputs:  # what is written into a reference comes out of it later
            if not isinstance(atom, Constant) and _is_reference(program.avals[atom]):
                known[atom] = join(*inputs)
    return Marks(known, [read(atom) for atom in program.outputs])


def bodies(
    step: Step, inputs: Sequence[Any], join: Join, through: Through | None = None
) -> tuple[list[Marks], list[Any]]:
    """Finds the marks within a loop or branches.

    Args:
      step: one with bodies.
      inputs: marks of its inputs.
      join, through: as of `flow`.

    Returns:
      The marks of each body, which hold in every run of it, and those of the step's outputs.

    >>> import jax, jax.numpy as jnp
    >>> from gecko_jax.programs.flatten import trace
    >>> program, _ = trace(lambda a, x: jax.lax.scan(lambda c, row: (c + row, c), a, x), 1.0, jnp.ones(3))
    >>> bodies(program.steps[0], [{"a"}, {"x"}], lambda *marks: set().union(*marks))[1] == [{"a", "x"}] * 2
    True
    """
    return {"cond": _branches, "while": _while, "scan": _scan}[step.name](step, list(inputs), join, through)


def _branches(step: Step, inputs: list[Any], join: Join, through: Through | None):
    index, *marks = inputs
    inside = [flow(body, marks, join, through) for body in step.bodies]
    return inside, [join(index, *column) for column in zip(*(each.outputs for each in inside), strict=True)]


def _while(step: Step, inputs: list[Any], join: Join, through: Through | None):
    test, body = step.bodies
    of_test, of_body = step.params["cond_nconsts"], step.params["body_nconsts"]
    fixed, inputs = inputs[:of_test], inputs[of_test:]
    while True:
        inside = flow(body, inputs, join, through)
        tested = flow(test, [*fixed, *inputs[of_body:]], join, through)
        ends = [join(end, *tested.outputs) for end in inside.outputs]  # how often it runs decides what it ends with
        grown = _grown(body, inside, inputs, of_body, ends, join)
        if grown == inputs:
            return [tested, inside], inputs[of_body:]
        inputs = grown


def _scan(step: Step, inputs: list[Any], join: Join, through: Through | None):
    [body] = step.bodies
    constants, carried = scan_counts(step.params)
    while True:
        inside = flow(body, inputs, join, through)
        grown = _grown(body, inside, inputs, constants, inside.outputs[:carried], join)
        if grown == inputs:
            return [inside], [*inputs[constants : constants + carried], *inside.outputs[carried:]]
        inputs = grown


def _grown(body: Program, inside: Marks, inputs: list[Any], first: int, ends: list[Any], join: Join) -> list[Any]:
    """Returns the inputs' marks of the next run: the carry, from `first` on, starts as it ended."""
    written = [
        join(mark, inside.values[number]) if _is_reference(body.avals[number]) else mark
        for number, mark in zip(body.inputs, inputs, strict=True)
    ]
    carried = [join(mark, end) for mark, end in zip(written[first:], ends, strict=False)]
    return [*written[:first], *carried, *written[first + len(carried) :]]


def _is_reference(aval: Any) -> bool:
    """Tells whether a value is a mutable reference (`jax.new_ref`)."""
    return hasattr(aval, "inner_aval")
