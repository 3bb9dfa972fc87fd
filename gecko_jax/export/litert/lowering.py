"""Turns an integer network into the operators of LiteRT, one for one where LiteRT has the operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gecko_jax.export.litert.model import LiteModel, LiteOperator, LiteTensor
from gecko_jax.export.litert.multipliers import check_multipliers
from gecko_jax.export.shifted_weights import shifted_weights
from gecko_jax.integer.graph import IntegerGraph
from gecko_jax.integer.nodes import (
    Add,
    AveragePool,
    Conv,
    Dense,
    Depthwise,
    IntegerTensor,
    MaxPool,
    Node,
    Requantize,
    Rescale,
    Reshape,
    Weighted,
)

LOW, HIGH = -128, 127
Borders = tuple[tuple[int, int], tuple[int, int]]


def lower(graph: IntegerGraph) -> LiteModel:
    """Returns the network as a LiteRT model, whose results are the same bit for bit.

    A dense layer becomes a convolution of one pixel: LiteRT rounds a sum once in FULLY_CONNECTED and TFLM twice, and
    both round twice in CONV_2D. A border that LiteRT's "SAME" does not make becomes a step before the layer, and a clip
    that none of its fused activations makes becomes two after it.

    Args:
      graph: of int8 codes; weights may have fewer bits and are stored as int8.

    Raises:
      ValueError: what LiteRT cannot compute bit for bit, with its layer.
    """
    return _Lowering(graph).model()


class _Lowering:
    def __init__(self, graph: IntegerGraph):
        self.graph = graph
        self.tensors: list[LiteTensor] = []
        self.operators: list[LiteOperator] = []
        self.numbers: dict[int, int] = {}

    def model(self) -> LiteModel:
        start, end = (self.graph.tensors[number] for number in (self.graph.input, self.graph.output))
        first = self.activation(start, "input", start.shape)
        self.numbers[self.graph.input] = self.reshaped(first, start, _image(start.shape))
        for node in self.graph.nodes:
            self.lower(node)
        last = self.reshaped(self.numbers[self.graph.output], end, end.shape)
        if not self.operators:
            raise ValueError("the network computes nothing; expected at least one layer.")
        return LiteModel(tuple(self.tensors), tuple(self.operators), first, last)

    def lower(self, node: Node) -> None:
        read = [self.graph.tensors[number] for number in node.inputs]
        written = self.graph.tensors[node.output]
        for tensor in (*read, written):
            if tensor.bits == 1:
                raise ValueError(
                    f"{node.label} reads or writes single bits, and LiteRT has no operator on bits. Export to "
                    "C, or quantize inputs of layers to 8 bits."
                )
        inputs = [self.numbers[number] for number in node.inputs]
        if isinstance(node, Reshape):
            self.numbers[node.output] = self.reshaped(inputs[0], written, _image(written.shape))
            return
        output = self.numbers[node.output] = self.activation(written)
        if isinstance(node, (MaxPool, AveragePool)):
            self.pool(node, inputs[0], read[0], output)
        elif isinstance(node, (Weighted, Add, Requantize)):
            if not isinstance(node.stage, Rescale):
                raise ValueError(
                    f"{node.label} compares sums with thresholds, and LiteRT has no operator that does. "
                    "Export to C, or quantize inputs of layers to 8 bits."
                )
            check_multipliers(node, read, written)
            if isinstance(node, Weighted):
                self.weighted(node, inputs[0], read[0], output)
            elif isinstance(node, Add):
                self.clipped(node, "ADD", 2, inputs, output, "AddOptions", {})
            else:
                self.clipped(node, "QUANTIZE", 2, inputs, output, "", None)
        else:
            kind = type(node).__name__
            raise ValueError(f"{node.label} is a {kind}, and LiteRT has no such operator. Export to C.")

    def activation(self, tensor: IntegerTensor, name: str = "", shape: Sequence[int] = ()) -> int:
        scales = np.array([tensor.scale], np.float32)
        name = name or f"{tensor.name or 'output'}:{len(self.tensors)}"
        return self.add(LiteTensor(name, (1, *(shape or _image(tensor.shape))), scales, tensor.zero_point))

    def reshaped(self, x: int, tensor: IntegerTensor, shape: Sequence[int]) -> int:
        """Returns a tensor's codes in another shape: x itself if it has this shape."""
        if self.tensors[x].shape == (1, *shape):
            return x
        sides = self.constant(f"{tensor.name}/shape", np.array([-1, *shape], np.int32))
        output = self.activation(tensor, "", shape)
        self.operators.append(LiteOperator("RESHAPE", 1, (x, sides), output))
        return output

    def constant(self, name: str, data: np.ndarray, scales: np.ndarray | None = None, axis: int = 0, zero: int = 0):
        return self.add(LiteTensor(name, data.shape, scales, zero, axis, data))

    def add(self, tensor: LiteTensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def weighted(self, node: Weighted, x: int, read: IntegerTensor, output: int) -> None:
        shifted = shifted_weights(node)
        assert shifted is not None  # `check_multipliers` has refused it
        axis, weights = (3 if isinstance(node, Depthwise) else 0), shifted.codes
        weights = weights[None, None] if isinstance(node, Dense) else weights
        weights = np.moveaxis(weights, -1, 0) if axis == 0 else np.moveaxis(weights, 2, 0)
        scales = shifted.scales.astype(np.float32)
        kernel = self.constant(f"{node.path}/kernel", np.ascontiguousarray(weights), scales, axis)
        bias = self.constant(f"{node.path}/bias", node.bias.astype(np.int32), np.float32(read.scale) * scales)
        if isinstance(node, Dense):
            settings = {"Padding": "VALID", "StrideH": 1, "StrideW": 1}
            self.clipped(node, "CONV_2D", 3, (x, kernel, bias), output, "Conv2DOptions", settings)
            return
        assert isinstance(node, Conv)
        size = [(side - 1) * step + 1 for side, step in zip(node.weights.shape[:2], node.dilation, strict=True)]
        border = _border(read.shape, size, node.strides, node.padding)
        if node.pad_code != read.zero_point and any(map(any, node.padding)):
            border = ""
        x = x if border else self.padded(node, x, read, node.padding, node.pad_code)
        settings = {"Padding": border or "VALID", "StrideH": node.strides[0], "StrideW": node.strides[1]}
        settings |= {"DilationHFactor": node.dilation[0], "DilationWFactor": node.dilation[1]}
        if not isinstance(node, Depthwise):
            version = 3 if node.groups == 1 else 6
            self.clipped(node, "CONV_2D", version, (x, kernel, bias), output, "Conv2DOptions", settings)
            return
        settings["DepthMultiplier"] = node.weights.shape[-1] // node.groups
        options = "DepthwiseConv2DOptions"
        self.clipped(node, "DEPTHWISE_CONV_2D", 3, (x, kernel, bias), output, options, settings)

    def pool(self, node: MaxPool | AveragePool, x: int, read: IntegerTensor, output: int) -> None:
        border, padded = _border(read.shape, node.window, node.strides, node.padding), any(map(any, node.padding))
        average = isinstance(node, AveragePool)
        if average and padded and (node.counts_border or not border):
            if not node.counts_border:
                raise ValueError(
                    f"{node.label} averages windows with a border {node.padding} that does not count, which "
                    'LiteRT has for padding="SAME" only. Pad "SAME" or "VALID".'
                )
            x, border = self.padded(node, x, read, node.padding, read.zero_point), "VALID"
        elif not border:
            x, border = self.padded(node, x, read, node.padding, LOW), "VALID"
        settings = {"Padding": border, "StrideH": node.strides[0], "StrideW": node.strides[1]}
        settings |= {"FilterHeight": node.window[0], "FilterWidth": node.window[1]}
        code = "AVERAGE_POOL_2D" if average else "MAX_POOL_2D"
        self.operators.append(LiteOperator(code, 2, (x,), output, "Pool2DOptions", settings))

    def padded(self, node: Node, x: int, read: IntegerTensor, padding: Borders, code: int) -> int:
        """Adds a step that pads, and returns its result."""
        (top, bottom), (left, right) = padding
        height, width, channels = read.shape
        shape = (height + top + bottom, width + left + right, channels)
        border = self.constant(f"{node.path}/border", np.array([(0, 0), *padding, (0, 0)], np.int32))
        scales = np.array([read.scale], np.float32)
        fill = self.constant(f"{node.path}/fill", np.array([code], np.int8), scales, zero=read.zero_point)
        output = self.activation(read, f"{node.path}/padded", shape)
        self.operators.append(LiteOperator("PADV2", 2, (x, border, fill), output))
        return output

    def clipped(
        self, node: Any, code: str, version: int, inputs: Sequence[int], output: int, options: str, settings: Any
    ) -> None:
        """Adds an operator with the clip of its node: a fused activation, or two operators more."""
        tensor, stage = self.graph.tensors[node.output], node.stage
        fused, rest = _activation(stage, tensor), []
        if settings is None or fused is None:
            rest = [("MAXIMUM", stage.low)] * (stage.low > LOW) + [("MINIMUM", stage.high)] * (stage.high < HIGH)
            fused = "NONE"
        steps = [output]
        for number in range(len(rest)):
            steps.insert(0, self.activation(tensor, f"{node.path}/unclipped{number}"))
        settings = {} if settings is None else {**settings, "FusedActivationFunction": fused}
        self.operators.append(LiteOperator(code, version, tuple(inputs), steps[0], options, settings))
        for (name, bound), x, y in zip(rest, steps, steps[1:], strict=False):
            scales, data = np.array([tensor.scale], np.float32), np.array([bound], np.int8)
            end = self.constant(f"{node.path}/{name.lower()}", data, scales, zero=tensor.zero_point)
            self.operators.append(LiteOperator(name, 2, (x, end), y, "MaximumMinimumOptions"))


def _activation(stage: Rescale, tensor: IntegerTensor) -> str | None:
    """Returns LiteRT's activation of the same clip; None if there is none."""
    six, one = (_nearest(bound / np.float32(tensor.scale)) for bound in (np.float32(6), np.float32(1)))
    zero = tensor.zero_point
    ranges = {
        "NONE": (LOW, HIGH),
        "RELU": (zero, HIGH),
        "RELU6": (zero, min(zero + six, HIGH)),
        "RELU_N1_TO_1": (max(zero - one, LOW), min(zero + one, HIGH)),
    }
    return next((name for name, ends in ranges.items() if ends == (stage.low, stage.high)), None)


def _image(shape: Sequence[int]) -> tuple[int, ...]:
    """Returns a shape in which a vector is an image of one pixel."""
    return (1, 1, *shape) if len(shape) == 1 else tuple(shape)


def _nearest(x: np.float32) -> int:
    return int(np.floor(float(x) + 0.5))


def _border(shape: Sequence[int], window: Sequence[int], strides: Sequence[int], padding: Borders) -> str:
    """Returns LiteRT's name of a border, "" if it has none."""
    if not any(map(any, padding)):
        return "VALID"
    for side, size, stride, pair in zip(shape, window, strides, padding, strict=False):
        total = max((-(-side // stride) - 1) * stride + size - side, 0)
        if pair != (total // 2, total - total // 2):
            return ""
    return "SAME"
