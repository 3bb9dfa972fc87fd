"""Finds which axes of a stored weight a layer sees inside `nn.scan`, `nn.vmap` and `nn.map_variables`.

They are read off the traced program. A lifted layer receives a slice of its weight, or its transpose, and does not say
of which axes. Lengths do not tell (four layers of 4 x 4). The weight is therefore marked where a layer sees it, and
followed back through the program to what is stored.
"""

from __future__ import annotations

from typing import NamedTuple

from jax import lax
from jax.ad_checkpoint import checkpoint_name

from gecko_jax.programs import Constant, Program, Step, scan_counts
from gecko_jax.types import Array

_MARK = "gecko_jax weight:"
Origin = tuple[int, tuple[int, ...]]  # number of a stored leaf, and the leaf's axis of each axis of a value


class TracedAxes(NamedTuple):
    """The axes of a traced program's weights.

    Attributes:
      axes: {name: the stored axis of each axis that the layer sees} of the weights that were marked and found.
      unsummed: {name: the stored axes that the first product or convolution by this weight does not sum over}.
      jitted: whether a weight enters a jitted program: a layer's own (nn.jit), which may be kept from an earlier call,
        or a function's.
    """

    axes: dict[str, tuple[int, ...]]
    unsummed: dict[str, tuple[int, ...]]
    jitted: bool


def mark(weight: Array, name: str) -> None:
    """Marks `weight` [two or more axes], as a layer sees it, in the program that is being traced.

    Its axes are reversed before it is named: inside a vmap the transpose shows which axes the layer sees, because all
    mapped axes are moved to the front.
    """
    checkpoint_name(lax.transpose(weight, tuple(reversed(range(weight.ndim)))), _MARK + name)


def seen_axes(program: Program, stored: list[tuple[str, int]], ranks: dict[str, int]) -> TracedAxes:
    """Reads off a traced program which axes of its weights each layer sees.

    Args:
      program: the traced program, whose first inputs are the stored leaves.
      stored: (name, number of axes) of these.
      ranks: {name: how many axes the layer sees}.
    """
    axes: dict[str, tuple[int, ...]] = {}
    unsummed: dict[str, tuple[int, ...]] = {}
    jitted = []

    def note(event: str, origin: Origin) -> None:
        leaf, seen = origin
        name = stored[leaf][0]
        if event == "jit":
            jitted.append(leaf)
        elif event == "product":
            unsummed.setdefault(name, seen)
        elif event == _MARK + name:
            axes.setdefault(name, seen[::-1][: ranks[name]])  # of the first call, as its layer is

    inputs = [(leaf, tuple(range(rank))) for leaf, (_, rank) in enumerate(stored)]
    _follow(program, [*inputs, *[None] * (len(program.inputs) - len(inputs))], note)
    return TracedAxes(axes, unsummed, bool(jitted))


def _follow(program: Program, inputs: list[Origin | None], note) -> list[Origin | None]:
    """Passes origins on from a program's inputs to its outputs."""
    known = dict(zip(program.inputs, inputs, strict=True))

    def origin(atom) -> Origin | None:
        return None if isinstance(atom, Constant) else known.get(atom)

    for step in program.steps:
        origins = [origin(atom) for atom in step.inputs]
        if any(origins):
            known.update(zip(step.outputs, _passed_on(step, origins, program, note), strict=True))
    for call in program.calls:
        if call.name in ("jit", "pjit"):
            for at in filter(None, map(origin, call.inputs)):
                note("jit", at)
    return [origin(atom) for atom in program.outputs]


def _passed_on(step: Step, origins: list[Origin | None], program: Program, note) -> list[Origin | None]:
    """Origins of a step's outputs."""
    nothing: list[Origin | None] = [None] * len(step.outputs)
    if step.name == "name" and step.params["name"].startswith(_MARK):
        note(step.params["name"], origins[0])
    elif step.name in _PRODUCTS:
        for side, at in enumerate(origins):
            if at:
                note("product", (at[0], tuple(at[1][axis] for axis in _PRODUCTS[step.name](step, side, len(at[1])))))
    elif step.name == "transpose" and origins[0]:
        leaf, axes = origins[0]
        return [(leaf, tuple(axes[axis] for axis in step.params["permutation"]))]
    elif step.name in ("reduce_sum", "squeeze") and origins[0]:
        leaf, axes = origins[0]
        gone = step.params["axes" if step.name == "reduce_sum" else "dimensions"]
        return [(leaf, tuple(axis for i, axis in enumerate(axes) if i not in gone))]
    elif step.bodies:
        ends = [_follow(body, inputs, note) for body, inputs in _inner(step, origins)]
        return ends[-1] if step.name == "cond" else nothing
    elif len(step.outputs) == 1:  # elementwise work, such as a change of type or a normalization of the weight
        for at, atom in zip(origins, step.inputs, strict=True):
            if at and not isinstance(atom, Constant) and program.avals[atom].shape == step.avals[0].shape:
                return [at]
    return nothing


def _unsummed_by_dot(step: Step, side: int, rank: int) -> tuple[int, ...]:
    summed = step.params["dimension_numbers"][0][side]
    return tuple(axis for axis in range(rank) if axis not in summed)


def _unsummed_by_convolution(step: Step, side: int, rank: int) -> tuple[int, ...]:
    del rank
    return (step.params["dimension_numbers"].rhs_spec[0],) if side == 1 else ()


_PRODUCTS = {"dot_general": _unsummed_by_dot, "conv_general_dilated": _unsummed_by_convolution}


def _inner(step: Step, origins: list[Origin | None]) -> list[tuple[Program, list[Origin | None]]]:
    """[(body, origins of its inputs)] of a loop or branches."""
    if step.name == "scan":
        constants, carried = scan_counts(step.params)
        rows = [at and (at[0], at[1][1:]) for at in origins[constants + carried :]]  # a step sees a row of each
        return [(step.bodies[0], [*origins[:constants], *[None] * carried, *rows])]
    if step.name == "while":
        start, count = step.params["cond_nconsts"], step.params["body_nconsts"]
        body = step.bodies[1]
        return [(body, origins[start : start + count] + [None] * (len(body.inputs) - count))]
    return [(body, origins[1:]) for body in step.bodies]
