"""The growing list of an integer network's tensors and nodes, and the nodes that arithmetic needs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gecko_jax.integer.fixed_point import MAX_INT32, quantize_multiplier
from gecko_jax.integer.freezing import rules, weights
from gecko_jax.integer.freezing.operations import Operation
from gecko_jax.integer.freezing.rules import Rule
from gecko_jax.integer.freezing.segments import Segment
from gecko_jax.integer.nodes import (
    Add,
    Conv,
    Dense,
    Depthwise,
    IntegerTensor,
    MaxPool,
    Node,
    Requantize,
    Rescale,
    Reshape,
    Threshold,
    Thresholds,
)

PLAIN = Segment(np.ones(1), np.zeros(1))
ADD_SHIFT = 20
MAX_INT8 = 127
MAX_LEFT_SHIFT = 12  # of small sums: the first rounding is then 4096 times as fine as the second


class Building:
    """Tensors and nodes.

    Args:
      known: `Codes` of the model's quantized weights.
    """

    def __init__(self, known: Sequence[Any]):
        self.known = known
        self.tensors: list[IntegerTensor] = []
        self.nodes: list[Node] = []

    def new(self, operation: Operation, tensor: IntegerTensor) -> int:
        """Returns the number of a new tensor, named by the operation's layer."""
        self.tensors.append(dataclasses.replace(tensor, name=operation.path))
        return len(self.tensors) - 1

    def put(self, node: Node) -> int:
        """Adds a node, and returns the number of the tensor that it writes."""
        self.nodes.append(node)
        return node.output

    def linear(self, operation: Operation, read: int, segment: Segment, scheme: IntegerTensor, end: Operation) -> int:
        """Emits a dense layer or a convolution with what follows it; the result is named by `end`."""
        tensor, matrix = self.tensors[read], operation.settings["weights"]
        outputs = matrix.shape[-1]
        scale, shift = (np.broadcast_to(each, (outputs,)) for each in segment.affine)
        known = None if operation.settings.get("plain") else weights.find_codes(matrix, self.known)
        codes = weights.folded(known, matrix, scale)
        codes, bias = weights.with_bias(codes, shift, tensor.scale, scheme.scale)
        written = self.new(end, dataclasses.replace(scheme, shape=operation.shape))
        return self._weighted(operation, read, codes, bias, written)

    def linear_bits(self, operation: Operation, read: int, bits: Sequence[Rule], written: int) -> int:
        """Emits a dense layer or a convolution whose outputs are bits."""
        matrix = operation.settings["weights"]
        codes = weights.find_codes(matrix, self.known) or weights.folded(None, matrix, np.ones(matrix.shape[-1]))
        codes = codes._replace(scales=np.where(codes.scales > 0, codes.scales, 1.0))
        signs, values = rules.on_integers(bits, self.tensors[read].scale * codes.scales)
        codes = codes._replace(values=(codes.values * signs).astype(np.int8))  # of a falling one, the opposite weights
        return self._weighted(operation, read, codes, np.zeros(len(bits)), written, Thresholds(values))

    def _weighted(self, operation, read, codes, bias, written, stage=None) -> int:
        settings, tensor, scheme = operation.settings, self.tensors[read], self.tensors[written]
        pad_code = self._pad_code(settings, tensor) if operation.kind == "conv" else tensor.zero_point
        bound = weights.accumulator_bound(codes.values, bias, tensor, pad_code)
        if stage is None:
            limit = _max_left_shift(tensor, int(np.abs(codes.values).max()))
            stage = _stage(tensor.scale * codes.scales / scheme.scale, scheme, bound, limit)
        left, shifts = (stage.left_shift, stage.shifts) if isinstance(stage, Rescale) else (0, np.zeros(1))
        weights.check_bound(bound, left + np.maximum(shifts, 0), place(operation))
        bias = np.round(bias * 2.0**left).astype(np.int32)
        shared = (operation.path, (read,), written, codes.values, codes.scales, codes.bits, bias, stage)
        if operation.kind == "dense":
            return self.put(Dense(*shared))
        geometry = {name: settings[name] for name in ("strides", "padding", "dilation", "groups")}
        depthwise = settings["groups"] == tensor.shape[-1] and settings["groups"] > 1
        return self.put((Depthwise if depthwise else Conv)(*shared, pad_code=pad_code, **geometry))

    def _pad_code(self, settings: dict[str, Any], tensor: IntegerTensor) -> int:
        if not any(any(pair) for pair in settings["padding"]):
            return tensor.zero_point if tensor.bits > 1 else 1
        code = tensor.zero_point + settings["border"] / tensor.scale
        nearest = round(code)
        if (
            abs(code - nearest) > 1e-3
            or not tensor.low <= nearest <= tensor.high
            or (tensor.bits == 1 and nearest == 0)
        ):
            raise ValueError(
                f"pads with {settings['border']:g}, which no code of its input stands for; pad -1 and +1 with +1, and "
                "other numbers with 0"
            )
        return nearest

    def add(
        self, operation: Operation, read: Sequence[int], segment: Segment, scheme: IntegerTensor, end: Operation
    ) -> int:
        """Emits a sum of two tensors with what follows it, one factor and a clip."""
        scales = [self.tensors[number].scale for number in read]
        twice = 2 * max(scales)
        factors = [quantize_multiplier(scale / twice) for scale in scales]
        stage = _stage(np.array([twice / 2**ADD_SHIFT * segment.affine[0][0] / scheme.scale]), scheme)
        written = self.new(end, dataclasses.replace(scheme, shape=operation.shape))
        multipliers, shifts = zip(*factors, strict=True)
        return self.put(Add(operation.path, tuple(read), written, ADD_SHIFT, multipliers, shifts, stage))

    def rescaled(self, read: int, segment: Segment, scheme: IntegerTensor, end: Operation) -> int:
        """Emits a segment of a tensor: a rescaling, or a depthwise convolution with one pixel if channels differ."""
        tensor = self.tensors[read]
        if segment.uniform:
            stage = _stage(
                np.array([tensor.scale * segment.affine[0][0] / scheme.scale]),
                scheme,
                256.0,
                _max_left_shift(tensor, MAX_INT8),
            )
            written = self.new(end, dataclasses.replace(scheme, shape=tensor.shape))
            return self.put(Requantize(end.path, (read,), written, stage))
        channels, shape = tensor.shape[-1], tensor.shape
        if len(shape) == 1:
            image = self.new(end, dataclasses.replace(tensor, shape=(1, 1, channels)))
            read = self.put(Reshape(end.path, (read,), image))
        ones = np.ones((1, 1, 1, channels))
        geometry = {"strides": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": channels}
        settings = {"weights": ones, "border": 0.0, "plain": True, **geometry}
        operation = Operation("conv", (), self.tensors[read].shape, end.path, settings)
        written = self.linear(operation, read, segment, scheme, end)
        if len(shape) == 3:
            return written
        flat = self.new(end, dataclasses.replace(self.tensors[written], shape=shape))
        return self.put(Reshape(end.path, (written,), flat))

    def max_pool(self, operation: Operation, read: int) -> int:
        """Emits a maximum over windows."""
        source = self.tensors[read]
        window = {name: operation.settings[name] for name in ("window", "strides", "padding")}
        written = self.new(operation, dataclasses.replace(source, shape=operation.shape))
        return self.put(MaxPool(operation.path, (read,), written, **window))

    def of_eight_bits(self, operation: Operation, read: int) -> int:
        """Returns a tensor with as many codes as int8 has: the mean of a few codes would be one of a few."""
        tensor = self.tensors[read]
        if tensor.bits == 8:
            return read
        ends = [np.array([tensor.scale * (end - tensor.zero_point)]) for end in (tensor.low, tensor.high)]
        return self.rescaled(read, PLAIN, PLAIN.scheme(*ends), operation)

    def flipped(self, read: int, signs: np.ndarray, operation: Operation) -> int:
        """Emits the opposite bits in the channels whose sign is -1."""
        if np.all(signs > 0):
            return read
        written = self.new(operation, self.tensors[read])
        return self.put(Threshold(operation.path, (read,), written, signs, signs * 0 + 1))


def _max_left_shift(read: IntegerTensor, largest_weight: int) -> int:
    """Returns a bound on a stage's left shift: for 8-bit inputs, one by which weights fit int8 as well."""
    return MAX_LEFT_SHIFT if read.bits < 8 else math.floor(math.log2(MAX_INT8 / max(largest_weight, 1)))


def _stage(factors: np.ndarray, scheme: IntegerTensor, bound: Any = 0.0, max_left_shift: int = 0) -> Rescale:
    """Returns the stage from sums of at most `bound`, shifted to the left as far as 32 bits and the limit allow."""
    top = float(np.max(bound)) * max(1.0, float(np.max(factors)))  # the rescaled sum fits 32 bits, too
    left = min(max(math.floor(math.log2(MAX_INT32 / max(top, 1.0))), 0), max_left_shift)
    pairs = [quantize_multiplier(float(factor) / 2**left) for factor in factors]
    multipliers, shifts = (np.array(column, np.int32) for column in zip(*pairs, strict=True))
    return Rescale(multipliers, shifts, scheme.low, scheme.high, left)


def place(operation: Operation) -> str:
    """Names the layer of an operation in a message."""
    return f"layer {operation.path!r}" if operation.path else "layer '' (the network itself)"
