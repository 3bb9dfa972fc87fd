"""Reads a traced model as operations: the data are followed, and everything else is a constant."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gecko_jax.integer.freezing.operations import Operation, Operations
from gecko_jax.integer.freezing.windows import Windows, joined, sliced
from gecko_jax.programs import Constant, Program, Step, layer_of

SUPPORTED = (
    "dense layers, convolutions, BatchNorm, sums of two layers, maximum and average pools, reshaping, ReLU and other "
    "clipping, and quantizers of inputs (signs, and rounding to a grid)"
)


class View(NamedTuple):
    """The result of an operation, perhaps in another shape [n, ...]; rows and their order are the same."""

    operation: int
    shape: tuple[int, ...]


class Comparison(NamedTuple):
    """A comparison of data with a threshold: x >= threshold, or x > threshold if strict."""

    view: View
    threshold: np.ndarray
    strict: bool
    negated: bool


class Within(NamedTuple):
    """Whether data lie in a range: low <= x <= high."""

    view: View
    low: np.ndarray
    high: np.ndarray


class Blocks(NamedTuple):
    """An image cut into side x side blocks: [n, h / side, side, w / side, side, channels]."""

    source: int
    side: int


class Reader:
    """Reads a program.

    Args:
      program: of a model on n rows, n at least 2.
      constants: {number: array} of the values that do not depend on the data.
      kinds: {path: class name} of the layers, for messages.
    """

    def __init__(self, program: Program, constants: Mapping[int, np.ndarray], kinds: Mapping[str, str]):
        self.program, self.constants, self.kinds = program, constants, kinds
        self.operations, self.values = Operations(), {}
        self.rows, self.step = 0, program.steps[0]

    def read(self, data: int, live: frozenset[int]) -> int:
        """Returns the number of the operation that computes the model's output.

        Args:
          data: number of the input's value.
          live: numbers of the values that the output depends on.
        """
        from gecko_jax.integer.freezing.primitives import PRIMITIVES

        self.rows, *shape = self.program.avals[data].shape
        first = self.operations.add(Operation("input", (), tuple(shape), "input", {}, data))
        self.values[data] = View(first, (self.rows, *shape))
        for step in self.program.steps:
            if live.isdisjoint(step.outputs) or not any(self._is_data(atom) for atom in step.inputs):
                continue
            self.step = step
            read = PRIMITIVES.get(step.name)
            self.values[step.outputs[0]] = read(self, step, [self.of(atom) for atom in step.inputs]) if read else None
            if self.values[step.outputs[0]] is None:
                raise self.refusal()
        [output] = self.program.outputs
        if not self._is_data(output):
            raise ValueError("model returns the same outputs for every example; there is nothing to freeze.")
        return self.operation(self.values[output])

    def _is_data(self, atom: int | Constant) -> bool:
        return not isinstance(atom, Constant) and atom in self.values

    def of(self, atom: int | Constant) -> Any:
        """Returns what a step reads: a View or another value of data, or a NumPy array."""
        if isinstance(atom, Constant):
            return np.asarray(atom.value)
        return self.values[atom] if atom in self.values else self.constants[atom]

    def refusal(self, why: str = "") -> ValueError:
        """Returns the error of the step that is read.

        Args:
          why: what about it is not supported; by default its primitive is not.
        """
        what = why or f"computes {self.step.name!r} of the data"
        return ValueError(f"{self._place()} {what}, which an integer network has not. It may hold {SUPPORTED}.")

    def _place(self) -> str:
        path = layer_of(self.step.scope)
        return f"layer {path!r} ({self.kinds[path]})" if path else f"the network itself ({self.kinds.get('', '?')})"

    def view(self, value: Any) -> View:
        """Returns a value as a View: windows that were joined become a pool."""
        if isinstance(value, View):
            return value
        if not isinstance(value, Windows) or value.join is None or value.window is None:
            raise self.refusal("reads a part of an image, a comparison, or windows with holes")
        kind = {"max": "max_pool", "add": "sum_pool"}[value.join]
        return self.pool(kind, value.source, value.window, value.strides, ((0, 0), (0, 0)), value.size)

    def operation(self, value: Any) -> int:
        """Returns the number of the operation with a value's very shape, which reshapes if it must."""
        view = self.view(value)
        if self.operations[view.operation].shape == view.shape[1:]:
            return view.operation
        return self.operations.add(self._new("reshape", (view.operation,), view.shape[1:], {}))

    def image(self, value: Any) -> int:
        """Returns the number of an operation whose result is an image; a sequence has width 1."""
        view = self.view(value)
        if len(view.shape) == 3:
            view = View(view.operation, (*view.shape[:2], 1, view.shape[2]))
        return self.operation(view)

    def new(self, kind: str, inputs: Sequence[int], shape: tuple[int, ...], settings: dict[str, Any]) -> View:
        """Returns the result of a new operation, which is measured."""
        if 0 in shape:
            raise self.refusal(f"makes an image without a pixel, {tuple(shape)}")
        operation = self._new(kind, tuple(inputs), shape, settings, self.step.outputs[0])
        return View(self.operations.add(operation), (self.rows, *shape))

    def _new(self, kind, inputs, shape, settings, value=None) -> Operation:
        return Operation(kind, inputs, tuple(shape), layer_of(self.step.scope) or "", settings, value)

    def elementwise(self, value: Any, kind: str, constants: dict[str, np.ndarray], **settings: Any) -> View:
        """Returns a View with an elementwise operation made.

        Args:
          value: of data.
          kind: of the operation.
          constants: its settings that broadcast against the value.
          **settings: the others.
        """
        if any(np.isnan(constant).any() for constant in constants.values()):
            raise ValueError(
                f"{self._place()} has a quantizer whose range was never calibrated. Train the model, or measure its "
                "ranges on data with models.calibrate(model, variables, x)."
            )
        view = self.view(value)
        vectors = self._vectors(view, constants)
        if vectors is None:
            view = View(self.operation(view), view.shape)
            vectors = self._vectors(view, constants)
        if vectors is None:
            raise self.refusal("combines the data with constants that differ from position to position in a channel")
        shape = self.operations[view.operation].shape
        operation = self._new(kind, (view.operation,), shape, {**vectors, **settings})
        return View(self.operations.add(operation), view.shape)

    def _vectors(self, view: View, constants: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
        """Returns constants as arrays [channels] or [1] of the View's operation; None if they are not."""
        shape, vectors = self.operations[view.operation].shape, {}
        for name, constant in constants.items():
            constant = np.asarray(constant, np.float64)
            if constant.size == 1:
                vectors[name] = constant.reshape(1)
                continue
            spread = np.broadcast_to(constant, view.shape).reshape(-1, *shape)
            vector = spread.reshape(-1, shape[-1])[0]
            if not np.array_equal(spread, np.broadcast_to(vector, spread.shape)):
                return None
            vectors[name] = vector[:1] if np.all(vector == vector[0]) else vector
        return vectors

    def pool(self, kind: str, source: int, window: Sequence[int], strides: Sequence[int], padding: Any, size: Any):
        """Returns the View of a pool of images, whose border may be a padding step of its own."""
        source, padding, value = self.without_pad(source, padding)
        border = any(any(pair) for pair in padding)
        if border and value not in (None, -math.inf if kind == "max_pool" else 0.0):
            raise self.refusal(f"pools over a border of {value:g}")
        shape = self.operations[source].shape
        spans = [shape[i] + sum(padding[i]) for i in (0, 1)]
        fit = tuple((span - side) // stride + 1 for span, side, stride in zip(spans, window, strides, strict=True))
        if fit != tuple(size):
            raise self.refusal("pools over a part of an image")
        settings = {"window": tuple(window), "strides": tuple(strides), "padding": padding}
        return self.new(kind, (source,), (*fit, shape[-1]), settings)

    def without_pad(self, source: int, padding: Any) -> tuple[int, Any, float | None]:
        """Returns (operation, padding, the border's number or None) with a padding step made part of its reader."""
        padding = tuple((int(low), int(high)) for low, high in padding)
        if any(min(pair) < 0 for pair in padding):
            raise self.refusal("cuts an image by a negative border")
        operation = self.operations[source]
        if operation.kind != "pad":
            return source, padding, None
        border, value = operation.settings["padding"], operation.settings["value"]
        if any(any(pair) for pair in padding) and value not in (0.0, -math.inf):
            raise self.refusal("pads an image that has a border already")
        total = tuple((a + c, b + d) for (a, b), (c, d) in zip(border, padding, strict=True))
        return operation.inputs[0], total, value

    def slices(self, value: Any, step: Step, shape: tuple[int, ...]) -> Windows | None:
        """Returns the windows that a slice of images starts or moves."""
        if isinstance(value, View) and len(value.shape) == 4:
            value = Windows(self.operation(value), None, frozenset([(0, 0)]), (1, 1), (value.shape[1], value.shape[2]))
        return sliced(value, step.params, shape) if isinstance(value, Windows) else None

    def join(self, left: Any, right: Any, kind: str) -> Windows | None:
        """Returns two windows joined; None if the values are not windows of one image."""
        both = isinstance(left, Windows) and isinstance(right, Windows)
        return joined(left, right, kind) if both else None


Read = Callable[[Reader, Step, list[Any]], Any]
