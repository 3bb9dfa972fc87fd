"""Turns an integer network into the operators of ONNX: on integers alone, or on numbers between Q and DQ (QDQ).

On integers, a sum is rescaled in 64 bits as gemmlowp does it, with ONNX's division, which truncates:

  high = floor((sum * multiplier + 2^30) / 2^31),    code = (high + sign(high) * 2^(n - 1)) / 2^n + zero point
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gecko_jax.export.litert.multipliers import check_multipliers
from gecko_jax.export.shifted_weights import shifted_weights
from gecko_jax.integer.graph import IntegerGraph
from gecko_jax.integer.nodes import (
    Add,
    AveragePool,
    Conv,
    IntegerTensor,
    MaxPool,
    Node,
    Requantize,
    Rescale,
    Reshape,
    Threshold,
    Weighted,
)

CHANNELS_FIRST, CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]


class OnnxNode(NamedTuple):
    """A step: its operator, names of what it reads and writes, and its attributes."""

    kind: str
    inputs: list[str]
    output: str
    settings: dict[str, Any]


class OnnxNetwork(NamedTuple):
    """A network: its steps in order, constants by name, and the names of the input and the output."""

    steps: list[OnnxNode]
    constants: dict[str, np.ndarray]
    input: str
    output: str


def lower(graph: IntegerGraph, qdq: bool) -> OnnxNetwork:
    """Returns the steps of a network.

    Images have their channels first, as ONNX computes them; they are turned at the ends, and where an image becomes a
    vector.

    Args:
      graph: any.
      qdq: numbers between QuantizeLinear and DequantizeLinear where activations have 8 bits; else integers.
    """
    return _Lowering(graph, qdq).network()


class _Lowering:
    def __init__(self, graph: IntegerGraph, qdq: bool):
        self.graph, self.qdq = graph, qdq
        self.steps: list[OnnxNode] = []
        self.constants: dict[str, np.ndarray] = {}
        self.codes: dict[int, str] = {}

    def network(self) -> OnnxNetwork:
        graph = self.graph
        self.codes[graph.input] = self.turned("input", graph.tensors[graph.input], CHANNELS_FIRST)
        for node in graph.nodes:
            self.codes[node.output] = self.node(node)
        last = self.turned(self.codes[graph.output], graph.tensors[graph.output], CHANNELS_LAST)
        return OnnxNetwork(self.steps, self.constants, "input", self.step("Identity", [last]))

    def node(self, node: Node) -> str:
        codes, written = self.codes[node.inputs[0]], self.graph.tensors[node.output]
        read = self.graph.tensors[node.inputs[0]]
        if isinstance(node, Weighted):
            return self.weighted(node, codes, read, written)
        if isinstance(node, Reshape):
            flat = self.turned(codes, read, CHANNELS_LAST)
            reshaped = self.step("Reshape", [flat, self.constant(np.array([-1, *written.shape], np.int64))])
            return self.turned(reshaped, written, CHANNELS_FIRST)
        if isinstance(node, MaxPool):
            return self.step("MaxPool", [codes], **_windows(node))
        if isinstance(node, AveragePool):
            return self.average(node, codes, read)
        if isinstance(node, Threshold):
            x = self.combined("Mul", self.integers(codes, read), _by_channel(node.signs, written))
            return self.bits(x, _by_channel(node.values.astype(np.int64), written))
        assert isinstance(node, (Add, Requantize)), type(node)
        reads = [(self.codes[each], self.graph.tensors[each]) for each in node.inputs]
        if self.qdq and not node.stage.left_shift:
            check_multipliers(node, [tensor for _, tensor in reads], written)
            numbers = [self.number(*each) for each in reads]
            return self.quantized(self.step("Add", numbers) if len(numbers) > 1 else numbers[0], written, node.stage)
        values = [self.integers(*each) for each in reads]
        if isinstance(node, Add):
            factors = zip(values, node.multipliers, node.shifts, strict=True)
            left = 2**node.left_shift
            values = [self.rescaled(self.combined("Mul", x, left), *each) for x, *each in factors]
            values = [self.step("Add", values)]
        elif node.stage.left_shift:
            values = [self.combined("Mul", values[0], 2**node.stage.left_shift)]
        return self.staged(values[0], node.stage, written)

    def average(self, node: AveragePool, codes: str, read: IntegerTensor) -> str:
        """Emits the mean of codes, rounded half away from zero, as of integers; a quarter of a share breaks ties."""
        settings, count = _windows(node), node.window[0] * node.window[1]
        if node.counts_border and any(map(any, node.padding)):
            codes = self.padded(codes, node.padding, read.zero_point)
            settings["pads"] = [0, 0, 0, 0]
        mean = self.step("AveragePool", [self.step("Cast", [codes], to=_FLOAT)], **settings)
        half = self.step("Mul", [self.step("Sign", [mean]), self.constant(np.float32(0.5 + 0.25 / count))])
        return self.step("Cast", [self.step("Add", [mean, half])], to=_INT8)

    def padded(self, codes: str, padding: Any, code: int) -> str:
        (top, bottom), (left, right) = padding
        border = self.constant(np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
        return self.step("Pad", [codes, border, self.constant(np.int8(code))])

    def weighted(self, node: Weighted, codes: str, read: IntegerTensor, written: IntegerTensor) -> str:
        stage, shifted, image = node.stage, shifted_weights(node), isinstance(node, Conv)
        matrix, scales = shifted or (node.weights, node.weight_scales)
        settings: dict[str, Any] = {}
        if isinstance(node, Conv):
            matrix, padding = matrix.transpose(3, 2, 0, 1), node.padding
            if node.pad_code != read.zero_point and any(map(any, padding)):
                codes, padding = self.padded(codes, padding, node.pad_code), ((0, 0), (0, 0))
            settings = {"strides": node.strides, "pads": _pads(padding), "dilations": node.dilation}
            settings |= {"group": node.groups, "kernel_shape": node.weights.shape[:2]}
        weights, bias = self.constant(np.ascontiguousarray(matrix)), node.bias.astype(np.int32)
        if self.qdq and isinstance(stage, Rescale) and shifted:
            check_multipliers(node, [read], written)
            unit = np.float32(read.scale) * scales.astype(np.float32)
            kernel = self.dequantized(weights, scales, 0 if image else 1)
            inputs = [self.number(codes, read), kernel, self.dequantized(self.constant(bias), unit)]
            return self.quantized(self.step("Conv" if image else "Gemm", inputs, **settings), written, stage)
        inputs = [codes, weights, self.constant(np.int8(read.zero_point))]
        total = self.step("ConvInteger" if image else "MatMulInteger", inputs, **settings)
        total = self.step("Cast", [total], to=_INT64)
        if isinstance(stage, Rescale) and not shifted:
            total = self.combined("Mul", total, 2**stage.left_shift)
        total = self.combined("Add", total, _by_channel(bias, written))
        if isinstance(stage, Rescale):
            return self.staged(total, stage, written)
        return self.bits(total, _by_channel(stage.values.astype(np.int64), written))

    def staged(self, total: str, stage: Rescale, written: IntegerTensor) -> str:
        """Emits the codes that a stage makes of int64 sums."""
        pairs = (_by_channel(each, written) for each in (stage.multipliers, stage.shifts))
        codes = self.combined("Add", self.rescaled(total, *pairs), written.zero_point)
        ends = [self.constant(np.int64(end)) for end in (stage.low, stage.high)]
        return self.step("Cast", [self.step("Clip", [codes, *ends])], to=_INT8)

    def rescaled(self, x: str, multipliers: Any, shifts: Any) -> str:
        """Emits int64 integers times factors: gemmlowp's two roundings."""
        multipliers, shifts = np.asarray(multipliers, np.int64), np.asarray(shifts, np.int64)
        product = self.combined("Mul", x, multipliers << np.maximum(shifts, 0))
        lifted = self.combined("Add", product, 2**62 + 2**30)  # no longer negative: then truncating is rounding down
        high = self.combined("Sub", self.combined("Div", lifted, 2**31), 2**31)
        power = np.int64(1) << np.maximum(-shifts, 0)
        half = self.combined("Mul", self.step("Sign", [high]), power // 2)
        return self.combined("Div", self.step("Add", [high, half]), power)

    def integers(self, codes: str, tensor: IntegerTensor) -> str:
        return self.combined("Sub", self.step("Cast", [codes], to=_INT64), tensor.zero_point)

    def combined(self, kind: str, x: str, values: Any) -> str:
        """Emits an operation of int64 integers and a constant."""
        return self.step(kind, [x, self.constant(np.asarray(values, np.int64))])

    def number(self, codes: str, tensor: IntegerTensor) -> str:
        return self.dequantized(codes, np.float32(tensor.scale), zero_point=tensor.zero_point)

    def dequantized(self, codes: str, scale: Any, axis: int = 0, zero_point: int = 0) -> str:
        scale = np.asarray(scale, np.float32)
        inputs = [codes, self.constant(scale)] + ([self.constant(np.int8(zero_point))] if zero_point else [])
        return self.step("DequantizeLinear", inputs, **({"axis": axis} if scale.ndim else {}))

    def quantized(self, numbers: str, tensor: IntegerTensor, stage: Rescale) -> str:
        ends = stage.low, stage.high
        if ends != (-128, 127):
            ends = [self.constant(np.float32(tensor.scale * (end - tensor.zero_point))) for end in ends]
            numbers = self.step("Clip", [numbers, *ends])
        scale, zero_point = self.constant(np.float32(tensor.scale)), self.constant(np.int8(tensor.zero_point))
        return self.step("QuantizeLinear", [numbers, scale, zero_point])

    def bits(self, values: str, thresholds: np.ndarray) -> str:
        at_least = self.step("GreaterOrEqual", [values, self.constant(thresholds)])
        return self.step("Where", [at_least, self.constant(np.int8(1)), self.constant(np.int8(-1))])

    def turned(self, codes: str, tensor: IntegerTensor, axes: Sequence[int]) -> str:
        return self.step("Transpose", [codes], perm=axes) if len(tensor.shape) == 3 else codes

    def constant(self, array: Any) -> str:
        name = f"constant{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def step(self, kind: str, inputs: list[str], **settings: Any) -> str:
        output = f"{kind}{len(self.steps)}"
        self.steps.append(OnnxNode(kind, inputs, output, settings))
        return output


_FLOAT, _INT8, _INT64 = 1, 3, 7  # TensorProto's numbers of types


def _by_channel(values: np.ndarray, tensor: IntegerTensor) -> np.ndarray:
    return values.reshape(-1, 1, 1) if len(tensor.shape) == 3 and values.size > 1 else values


def _pads(padding: Any) -> list[int]:
    (top, bottom), (left, right) = padding
    return [top, left, bottom, right]


def _windows(node: MaxPool | AveragePool) -> dict[str, Any]:
    return {"kernel_shape": node.window, "strides": node.strides, "pads": _pads(node.padding)}
