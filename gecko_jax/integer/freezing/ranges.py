"""What a program's values are on data: its constants, and the range of each channel of what it computes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np

from gecko_jax import programs
from gecko_jax.models import weight_codes
from gecko_jax.programs import Constant, Program
from gecko_jax.types import Codes, Model, Variables


def data_dependent(program: Program) -> list[bool]:
    """Tells for each value of a program whether it depends on its last input, the data."""
    marks = [False] * (len(program.inputs) - 1) + [True]
    return programs.flow(program, marks, lambda *each: any(each)).values


def constants_of(program: Program, leaves: Sequence[Any], live: frozenset[int]) -> dict[int, np.ndarray]:
    """Computes the values that meet the data and do not depend on them, in one compiled program.

    Args:
      program: whose last input is the data.
      leaves: the other inputs.
      live: numbers of the values that the output depends on.

    Returns:
      {number: array}.
    """
    depends = data_dependent(program)
    steps = [step for step in program.steps if not live.isdisjoint(step.outputs)]
    fixed = [step for step in steps if not any(depends[number] for number in step.outputs)]
    read = [atom for step in steps if any(depends[n] for n in step.outputs) for atom in step.inputs]
    wanted = sorted({atom for atom in read if not isinstance(atom, Constant) and not depends[atom]})

    def run(leaves):
        values = programs.execute(fixed, dict(zip(program.inputs[:-1], leaves, strict=True)))
        return [values[number] for number in wanted]

    return {n: np.asarray(value) for n, value in zip(wanted, jax.jit(run)(list(leaves)), strict=True)}


def ranges_of(
    program: Program, leaves: Sequence[Any], live: frozenset[int], wanted: Iterable[int]
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Measures the smallest and the largest number of each channel (the last axis) of values.

    Args:
      program: whose inputs are the leaves.
      leaves: all inputs, the data last.
      live: numbers of the values that the output depends on.
      wanted: numbers of values.

    Returns:
      {number: (smallest, largest)}, float64 [channels].
    """
    steps, wanted = [step for step in program.steps if not live.isdisjoint(step.outputs)], sorted(set(wanted))

    def run(leaves):
        values = programs.execute(steps, dict(zip(program.inputs, leaves, strict=True)))
        return [[of(values[number], axis=range(values[number].ndim - 1)) for of in (_min, _max)] for number in wanted]

    pairs = jax.jit(run)(list(leaves))
    return {
        n: (np.asarray(low, np.float64), np.asarray(high, np.float64))
        for n, (low, high) in zip(wanted, pairs, strict=True)
    }


def _min(x, axis):
    return x.min(tuple(axis))


def _max(x, axis):
    return x.max(tuple(axis))


def known_codes(model: Model, variables: Variables, x: Any) -> list[Codes]:
    """Returns the codes of all weights that a model's rules quantize, as NumPy arrays.

    Raises:
      ValueError: a quantizer whose values are not small integers.
    """
    codes = jax.tree.map(np.asarray, jax.jit(lambda variables: weight_codes(model, variables, x))(variables))
    for name, each in codes.items():
        if each.values.dtype != np.int8:
            raise ValueError(
                f"layer {name.rpartition('/')[0]!r} has weights whose codes are {each.values.dtype}, not int8: one "
                "scale does not make its levels of small integers. Give it another quantizer, or none: freezing rounds "
                "a weight in float to int8."
            )
    return [each._replace(bits=int(each.bits)) for each in codes.values()]
