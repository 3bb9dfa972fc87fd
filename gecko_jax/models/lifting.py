"""Which axes of a stored weight a layer sees inside `nn.scan`, `nn.vmap` and `nn.map_variables`, read off the program.

A lifted layer is handed a slice of its weight, or its transpose, and does not say of which axes. Lengths do not tell
(four layers of 4 x 4), so that it is marked where it is seen and followed back through the program to what is stored.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from gecko_jax.programs import scan_counts
from gecko_jax.types import Array

_MARK = "gecko_jax weight:"
Origin = tuple[int, tuple[int, ...]]  # number of a stored leaf, and the leaf's axis of each axis of a value


class Seen(NamedTuple):
    """What a traced program tells of its weights.

    Attributes:
      axes: {name: the stored axis of each axis that the layer sees} of the weights that were marked and found.
      kept: {name: the stored axes that the first product or convolution by this weight does not sum over}.
      jitted: whether a weight enters a jitted program: a layer's own (nn.jit), which may be kept from an earlier call,
        or a function's.
    """

    axes: dict[str, tuple[int, ...]]
    kept: dict[str, tuple[int, ...]]
    jitted: bool


def mark(weight: Array, name: str) -> None:
    """Leaves a trace of `weight` [two or more axes], as a layer sees it, in the program that is being traced.

    Its axes are turned around before it is named: inside a vmap the turn names the axes that the layer sees, because
    all mapped axes are moved to the front.
    """
    checkpoint_name(lax.transpose(weight, tuple(reversed(range(weight.ndim)))), _MARK + name)


def seen_axes(program: Jaxpr, stored: list[tuple[str, int]], ranks: dict[str, int]) -> Seen:
    """What a traced program tells of its weights.

    Args:
      program: the traced program, whose first inputs are the stored leaves.
      stored: (name, number of axes) of these.
      ranks: {name: how many axes the layer sees}.
    """
    axes: dict[str, tuple[int, ...]] = {}
    kept: dict[str, tuple[int, ...]] = {}
    jitted = []
    sources = enumerate(zip(program.invars, stored, strict=False))  # the model's input follows
    known = {var: (i, tuple(range(rank))) for i, (var, (_, rank)) in sources}

    def note(event: str, origin: Origin) -> None:
        leaf, seen = origin
        name = stored[leaf][0]
        if event == "jit":
            jitted.append(leaf)
        elif event == "product":
            kept.setdefault(name, seen)
        elif event == _MARK + name:
            axes.setdefault(name, seen[::-1][: ranks[name]])  # of the first call, as its layer is

    _follow(program, known, note)
    return Seen(axes, kept, bool(jitted))


def _follow(program: Jaxpr, known: dict[Any, Origin], note) -> list[Origin | None]:
    """Passes origins on from a program's inputs to its outputs."""

    def origin(atom) -> Origin | None:
        return None if isinstance(atom, Literal) else known.get(atom)

    for eqn in program.eqns:
        given = [origin(atom) for atom in eqn.invars]
        if not any(given):
            continue
        name, results = eqn.primitive.name, [None] * len(eqn.outvars)
        if name == "name" and eqn.params["name"].startswith(_MARK):
            note(eqn.params["name"], given[0])
        elif name in _PRODUCTS:
            for side, at in enumerate(given):
                if at:
                    note("product", (at[0], tuple(at[1][axis] for axis in _PRODUCTS[name](eqn, side, len(at[1])))))
        elif name == "transpose":
            leaf, axes = given[0]
            results = [(leaf, tuple(axes[axis] for axis in eqn.params["permutation"]))]
        elif name in ("reduce_sum", "squeeze"):
            leaf, axes = given[0]
            gone = eqn.params["axes" if name == "reduce_sum" else "dimensions"]
            results = [(leaf, tuple(axis for i, axis in enumerate(axes) if i not in gone))]
        elif inner := _inner(eqn, given):
            if name in ("jit", "pjit"):
                note("jit", next(at for at in given if at))
            for body, inputs in inner:
                pairs = zip(body.invars, inputs, strict=True)
                ends = _follow(body, {var: at for var, at in pairs if at is not None}, note)
            if len(ends) == len(results) and name not in ("scan", "while"):
                results = ends
        elif len(results) == 1:  # elementwise work, such as a change of type or a normalization of the weight
            shape = eqn.outvars[0].aval.shape
            alike = [at for at, atom in zip(given, eqn.invars, strict=True) if at and atom.aval.shape == shape]
            results = alike[:1] or results
        known.update((var, at) for var, at in zip(eqn.outvars, results, strict=True) if at is not None)
    return [origin(atom) for atom in program.outvars]


def _kept_by_dot(eqn, side: int, rank: int) -> tuple[int, ...]:
    summed = eqn.params["dimension_numbers"][0][side]
    return tuple(axis for axis in range(rank) if axis not in summed)


def _kept_by_convolution(eqn, side: int, rank: int) -> tuple[int, ...]:
    del rank
    return (eqn.params["dimension_numbers"].rhs_spec[0],) if side == 1 else ()


_PRODUCTS = {"dot_general": _kept_by_dot, "conv_general_dilated": _kept_by_convolution}


def _inner(eqn, given: list[Origin | None]) -> list[tuple[Jaxpr, list[Origin | None]]]:
    """[(body, origins of its inputs)] of an equation that runs other programs."""
    name, params = eqn.primitive.name, eqn.params
    if name == "scan":
        constants, carried = scan_counts(params)
        rows = [at and (at[0], at[1][1:]) for at in given[constants + carried :]]  # a step sees a row of each
        return [(_open(params["jaxpr"]), [*given[:constants], *[None] * carried, *rows])]
    if name == "while":
        start, count = params["cond_nconsts"], params["body_nconsts"]
        body = _open(params["body_jaxpr"])
        return [(body, given[start : start + count] + [None] * (len(body.invars) - count))]
    if name == "cond":
        return [(_open(branch), given[1:]) for branch in params["branches"]]
    bodies = [_open(value) for value in params.values() if isinstance(value, (ClosedJaxpr, Jaxpr))]
    return [(body, given) for body in bodies if len(body.invars) == len(given)]


def _open(program) -> Jaxpr:
    return program.jaxpr if isinstance(program, ClosedJaxpr) else program
