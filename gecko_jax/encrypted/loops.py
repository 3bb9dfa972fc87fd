"""Loops and branches on polynomials: unrolled if the data do not decide how they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gecko_jax.encrypted import values
from gecko_jax.encrypted.circuit import Affine
from gecko_jax.encrypted.linear_steps import numbered
from gecko_jax.encrypted.values import NotPolynomial, Value
from gecko_jax.programs import Program, Step, scan_counts

Run = Callable[[Program, Sequence[Any]], list[Any]]  # (program, inputs) -> outputs
ToAffine = Callable[[Any], Affine]

MAX_PASSES = 10_000


def run_loop(step: Step, inputs: list[Any], run: Run, to_affine: ToAffine) -> list[Any] | None:
    """Runs a scan, a while loop or a branch.

    Args:
      step: one with bodies.
      inputs: arrays, Values, NotPolynomials.
      run: runs a program.
      to_affine: returns a value as an affine map.

    Returns:
      The outputs; None if the data decide what runs.
    """
    if step.name == "scan":
        return _scan(step, inputs, run, to_affine)
    if step.name == "cond":
        index, *operands = inputs
        if isinstance(index, (Value, NotPolynomial)):
            return None
        branch = int(np.clip(np.asarray(index, np.int64), 0, len(step.bodies) - 1))
        return run(step.bodies[branch], operands)
    test, body = step.bodies
    of_test, of_body = step.params["cond_nconsts"], step.params["body_nconsts"]
    fixed, constants, carry = inputs[:of_test], inputs[of_test : of_test + of_body], inputs[of_test + of_body :]
    for _ in range(MAX_PASSES):
        [goes_on] = run(test, [*fixed, *carry])
        if isinstance(goes_on, (Value, NotPolynomial)):
            return None
        if not goes_on:
            return carry
        carry = run(body, [*constants, *carry])
    return None


def _scan(step: Step, inputs: list[Any], run: Run, to_affine: ToAffine) -> list[Any]:
    [body], params = step.bodies, step.params
    constants, carried = scan_counts(params)
    fixed, carry, scanned = inputs[:constants], inputs[constants : constants + carried], inputs[constants + carried :]
    order = range(params["length"])
    rows = {}
    for i in reversed(order) if params["reverse"] else order:
        outputs = run(body, [*fixed, *carry, *(_row(each, i, to_affine) for each in scanned)])
        carry, rows[i] = outputs[:carried], outputs[carried:]
    columns = zip(*(rows[i] for i in order), strict=True)
    return [*carry, *(_stack(list(column), to_affine) for column in columns)]


def _row(value: Any, i: int, to_affine: ToAffine) -> Any:
    if isinstance(value, NotPolynomial):
        return value
    if not isinstance(value, Value):
        return np.asarray(value)[i]
    return values.constant_or_value(values.rows_of(to_affine(value), numbered(value.shape)[i].ravel()), value.shape[1:])


def _stack(rows: list[Any], to_affine: ToAffine) -> Any:
    refused = next((each for each in rows if isinstance(each, NotPolynomial)), None)
    if refused is not None:
        return refused
    if not any(isinstance(each, Value) for each in rows):
        return np.stack(rows)
    shape = next(each.shape for each in rows if isinstance(each, Value))
    return values.constant_or_value(values.stacked([to_affine(each) for each in rows]), (len(rows), *shape))
