"""Runs a network's program on polynomials in place of numbers: each step as what it does to an affine map.

Steps that read no data are computed as the model computes them, in its own precision; what the data go through is kept
in float64. A step that is not a polynomial gives a `NotPolynomial`, which counts only if the output depends on it: a
ReLU whose share in a finished transition is zero does not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gecko_jax import programs
from gecko_jax.encrypted import linear_steps, values
from gecko_jax.encrypted.arithmetic import ELEMENTWISE, Arithmetic, to_affine
from gecko_jax.encrypted.builder import Builder
from gecko_jax.encrypted.circuit import Affine
from gecko_jax.encrypted.loops import run_loop
from gecko_jax.encrypted.refusals import place_of, refusal_of
from gecko_jax.encrypted.values import NotPolynomial, Value
from gecko_jax.programs import Constant, Program, Step

# Steps that move numbers, and which of their operands are moved: the others are places, which must not depend on data.
_MOVES = {
    "broadcast_in_dim": (0,),
    "concatenate": None,  # all
    "copy": (0,),
    "copy_p": (0,),
    "dynamic_slice": (0,),
    "dynamic_update_slice": (0, 1),
    "expand_dims": (0,),
    "gather": (0,),
    "pad": (0, 1),
    "reshape": (0,),
    "rev": (0,),
    "scatter": (0, 2),
    "select_n": range(1, 1000),
    "slice": (0,),
    "split": (0,),
    "squeeze": (0,),
    "tile": (0,),
    "transpose": (0,),
}
_LINEAR = {"cumsum": (0,), "scatter-add": (0, 2), "scatter_add": (0, 2)}  # linear in these operands together
_SAME = ("optimization_barrier", "sharding_constraint", "reduce_precision", "real")


class Interpreter:
    """Computes the values of a program's steps as polynomials.

    Args:
      builder: collects the products.
      kinds: {path: class name} of the layers, for messages.
    """

    def __init__(self, builder: Builder, kinds: Mapping[str, str]):
        self.builder, self.kinds = builder, kinds

    def run(self, program: Program, inputs: Sequence[Any]) -> list[Any]:
        """Returns the outputs of a program: arrays, Values, NotPolynomials.

        Args:
          program: a flat program.
          inputs: arrays or Values.
        """
        known: dict[int, Any] = dict(zip(program.inputs, inputs, strict=True))

        def read(atom: int | Constant) -> Any:
            return np.asarray(atom.value) if isinstance(atom, Constant) else known[atom]

        live = programs.needed(program.steps, program.outputs)
        for step in program.steps:
            if live.isdisjoint(step.outputs):
                continue
            known.update(
                zip(step.outputs, self._step(step, [read(atom) for atom in step.inputs], program), strict=True)
            )
        return [read(atom) for atom in program.outputs]

    def _step(self, step: Step, inputs: list[Any], program: Program) -> list[Any]:
        if not any(isinstance(each, (Value, NotPolynomial)) for each in inputs):
            return programs.run_step(step, inputs)
        if step.bodies:
            outputs = run_loop(step, inputs, self.run, self._affine)
            return self._refused(step, program) if outputs is None else outputs
        if any(isinstance(each, NotPolynomial) for each in inputs):
            return [_past_obstacles(step, inputs)] * len(step.outputs)
        result = None
        if all(np.dtype(aval.dtype) in (np.float32, np.float64) for aval in step.avals):
            result = self._polynomial(step, inputs)
        if result is None:
            return self._refused(step, program)
        for each in result:
            if isinstance(each, Value):
                each.layer = each.layer or place_of(step.scope, self.kinds)
        return result

    def _refused(self, step: Step, program: Program) -> list[Any]:
        return [NotPolynomial(refusal_of(step, program.steps, self.kinds))] * len(step.outputs)

    def _polynomial(self, step: Step, inputs: list[Any]) -> list[Any] | None:
        """Returns the outputs of a step of data; None if they are not polynomials."""
        name, shape = step.name, tuple(step.avals[0].shape)
        if name in _SAME or name == "convert_element_type":
            return inputs if name != "reduce_precision" or step.params["mantissa_bits"] >= 23 else None
        if name in ELEMENTWISE:
            arithmetic = Arithmetic(self.builder, shape, place_of(step.scope, self.kinds))
            result = arithmetic.result(name, inputs, step.params.get("y"))
            return None if result is None else [result]
        if name in _MOVES:
            return self._moved(step, inputs)
        matrix = self._linear(step, inputs)
        return None if matrix is None else [values.constant_or_value(matrix, shape)]

    def _affine(self, value: Any) -> Affine:
        return to_affine(self.builder, value)

    def _moved(self, step: Step, inputs: list[Any]) -> list[Any] | None:
        """Sends the numbers of the entries the way that the entries go."""
        places = _MOVES[step.name] or range(len(inputs))
        moved = [i for i in range(len(inputs)) if i in places]
        if any(isinstance(inputs[i], Value) for i in range(len(inputs)) if i not in places):
            return None
        maps = [self._affine(inputs[i]) for i in moved]
        operands, first = list(inputs), 0
        for i, each in zip(moved, maps, strict=True):
            operands[i] = first + linear_steps.numbered(
                np.shape(inputs[i]) if not isinstance(inputs[i], Value) else inputs[i].shape
            )
            first += len(each.bias)
        indices = [np.asarray(each) for each in programs.run_step(step, operands)]
        if any(index.size and (index.min() < 0 or index.max() >= first) for index in indices):
            return None  # what a gather or a slice out of bounds fills with
        source = values.stacked(maps) if len(maps) > 1 else maps[0]
        return [values.constant_or_value(values.rows_of(source, index.ravel()), index.shape) for index in indices]

    def _linear(self, step: Step, inputs: list[Any]) -> Affine | None:
        name, data = step.name, [isinstance(each, Value) for each in inputs]
        if name == "dot_general":
            if all(data):
                return self._contracted(step, *inputs)
            constant, value = (inputs[1], inputs[0]) if data[0] else (inputs[0], inputs[1])
            matrix = linear_steps.contraction(step, np.asarray(constant), data[0], value.shape)
        elif name == "conv_general_dilated" and data == [True, False] and step.params["batch_group_count"] == 1:
            value = inputs[0]
            matrix = linear_steps.convolution(step, np.asarray(inputs[1]), value.shape)
        elif name in ("reduce_window_sum", "reduce_sum"):
            value = inputs[0]
            of = linear_steps.window_sum if name == "reduce_window_sum" else linear_steps.axis_sum
            matrix = of(step, value.shape)
        elif name in _LINEAR and not any(each for i, each in enumerate(data) if i not in _LINEAR[name]):
            return self._probed(step, inputs, _LINEAR[name])
        else:
            return None
        return values.mapped(matrix, self._affine(value))

    def _contracted(self, step: Step, left: Value, right: Value) -> Affine:
        """Returns a contraction of data with data: all products, and their sums."""
        numbers = linear_steps.numbered(left.shape), linear_steps.numbered(right.shape)
        rows, of_left, of_right = np.broadcast_arrays(*linear_steps.product_places(step, *numbers, True))
        factors = [
            values.over(values.rows_of(self._affine(value), index.ravel()), (rows.size,))
            for value, index in ((left, of_left), (right, of_right))
        ]
        products = self.builder.multiply(factors[0], factors[1], place_of(step.scope, self.kinds))
        count = math.prod(step.avals[0].shape)
        sums = linear_steps.matrix(rows.ravel(), linear_steps.numbered((rows.size,)), 1.0, (count, rows.size))
        return values.mapped(sums, self._affine(products))

    def _probed(self, step: Step, inputs: list[Any], places: Sequence[int]) -> Affine:
        constant = [np.zeros(each.shape, np.float32) if isinstance(each, Value) else each for each in inputs]
        total = Affine({}, np.asarray(programs.run_step(step, constant)[0], np.float64).ravel())
        zeros = [np.zeros(np.shape(each), np.float32) if i in places else each for i, each in enumerate(constant)]
        for place in places:
            if isinstance(inputs[place], Value):
                matrix = linear_steps.probed(step, zeros, place)
                total = values.added(total, values.mapped(matrix, self._affine(inputs[place])))
        return total


def _past_obstacles(step: Step, inputs: list[Any]) -> Any:
    """Returns the result of a step that reads a NotPolynomial: the same, unless its factor is 0 or it is not chosen."""
    first = inputs[0]
    if step.name == "mul" and any(not isinstance(each, (Value, NotPolynomial)) and not np.any(each) for each in inputs):
        return np.zeros(step.avals[0].shape)
    if step.name == "select_n" and not isinstance(first, (Value, NotPolynomial)) and np.unique(first).size == 1:
        return inputs[1 + int(np.ravel(first)[0])]
    return next(each for each in inputs if isinstance(each, NotPolynomial))
