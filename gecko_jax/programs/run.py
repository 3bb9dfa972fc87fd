"""Runs the steps of a program, one after another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gecko_jax.programs.flatten import Constant, Step
from gecko_jax.types import Array


def execute(steps: Iterable[Step], values: Mapping[int, Array]) -> dict[int, Array]:
    """Computes the steps' outputs.

    Args:
      steps: in order.
      values: {number: value} of all that they read and do not make themselves.

    Returns:
      `values` and the outputs.

    >>> from gecko_jax.programs.flatten import trace
    >>> program, _ = trace(lambda x: jnp.sin(x) * 2, 0.0)
    >>> float(execute(program.steps, {program.inputs[0]: jnp.float32(0.5)})[program.outputs[0]])
    0.9588510990142822
    """
    values = dict(values)
    for step in steps:
        results = run_step(step, [read(values, atom) for atom in step.inputs])
        values.update(zip(step.outputs, results, strict=True))
    return values


def run_step(step: Step, inputs: Iterable[Array]) -> list[Array]:
    """Computes one step's outputs.

    Args:
      step: of a program.
      inputs: arrays, one for each of `step.inputs`.

    Returns:
      One array for each of `step.outputs`.

    >>> from gecko_jax.programs.flatten import trace
    >>> program, _ = trace(lambda x: x * 2, 0.0)
    >>> [float(each) for each in run_step(program.steps[0], [jnp.float32(3), jnp.float32(2)])]
    [6.0]
    """
    if step.compute:
        return [step.compute(*inputs)]
    result = step.primitive.bind(*inputs, **step.primitive.get_bind_params(step.params))
    return list(result) if step.primitive.multiple_results else [result]


def read(values: Mapping[int, Any], atom: int | Constant) -> Any:
    """Returns the value of a number or a Constant; NumPy's as JAX's, because a user's own derivative may index it.

    Args:
      values: {number: value}.
      atom: an input of a step or an output of a program.

    Returns:
      The array.

    >>> float(read({3: jnp.float32(7)}, 3))
    7.0
    """
    if not isinstance(atom, Constant):
        return values[atom]
    return atom.value if isinstance(atom.value, (jax.Array, int, float, complex)) else jnp.asarray(atom.value)
