"""Emits the nodes of an integer network for operations: elementwise ones become part of the node before them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from gecko_jax.integer.freezing import rules
from gecko_jax.integer.freezing.building import PLAIN, Building, place
from gecko_jax.integer.freezing.operations import ELEMENTWISE, LINEAR, Operation, Operations
from gecko_jax.integer.freezing.segments import Segment, segments
from gecko_jax.integer.nodes import AveragePool, IntegerTensor, Reshape, Threshold

Span = tuple[np.ndarray, np.ndarray]


class Emitter:
    """Emits nodes.

    Args:
      operations: of a model.
      uses: how often each is read.
      ranges: {number: (smallest, largest)}, [channels] each, of the measured operations.
      known: `Codes` of the model's quantized weights.
    """

    def __init__(self, operations: Operations, uses: Sequence[int], ranges: Mapping[int, Span], known: Sequence[Any]):
        self.operations, self.uses, self.ranges = operations, uses, ranges
        self.building, self.input = Building(known), 0
        self._tensors: dict[int, int] = {}
        self._spans: dict[int, Span] = {}

    def tensor(self, number: int) -> int:
        """Returns the number of the tensor of an operation's result; its nodes are emitted once."""
        if number not in self._tensors:
            operation = self.operations[number]
            try:
                self._tensors[number] = self._emit(number, operation)
            except ValueError as error:
                if str(error).startswith("layer"):
                    raise
                raise ValueError(f"{place(operation)} {error}.") from error
        return self._tensors[number]

    def span(self, number: int) -> Span:
        """Returns the smallest and the largest result of each channel of an operation."""
        if number not in self._spans:
            operation = self.operations[number]
            if operation.kind in ELEMENTWISE:
                [segment] = segments([operation])
                self._spans[number] = segment.span(*self.span(operation.inputs[0]))
            elif operation.kind == "reshape":
                low, high = self.span(operation.inputs[0])
                self._spans[number] = low.min(keepdims=True), high.max(keepdims=True)
            elif operation.kind == "sign":
                self._spans[number] = np.array([-1.0]), np.array([1.0])
            else:
                self._spans[number] = self.ranges[number]
        return self._spans[number]

    def _emit(self, number: int, operation: Operation) -> int:
        kind = operation.kind
        if kind in ELEMENTWISE or kind in LINEAR or kind in ("input", "add"):
            return self._chain(number)
        if kind == "sign":
            return self._sign(number, operation)
        if kind in ("pad", "sum_pool"):
            what = {"pad": "pads an image for another step than a convolution or a pool", "sum_pool": "sums windows"}
            raise ValueError(f"{what[kind]}, which an integer network has not; pad inside nn.Conv, divide by the size")
        read = self.tensor(operation.inputs[0])
        if kind == "max_pool":
            return self.building.max_pool(operation, read)
        if kind == "reshape":
            written = self.building.new(
                operation, dataclasses.replace(self.building.tensors[read], shape=operation.shape)
            )
            return self.building.put(Reshape(operation.path, (read,), written))
        read = self.building.of_eight_bits(operation, read)
        written = self.building.new(operation, dataclasses.replace(self.building.tensors[read], shape=operation.shape))
        return self.building.put(AveragePool(operation.path, (read,), written, **operation.settings))

    def _chain(self, number: int) -> int:
        """Emits the elementwise operations that end in `number`, with the operation before them if it is theirs."""
        end, chain, pools, base = self.operations[number], [], [], number
        while own := base == number or self.uses[base] == 1:
            operation = self.operations[base]
            if operation.kind in ELEMENTWISE:
                chain.insert(0, operation)
            elif operation.kind == "max_pool" and chain and all(part.increasing for part in segments(chain)):
                pools.insert(0, operation)  # the maximum of an increasing function is that function of the maximum
            else:
                break
            base = operation.inputs[0]
        parts, span, kind = segments(chain), self.span(base), self.operations[base].kind if own else ""
        if kind == "input" and not _serves_input(parts[0]):
            parts = [PLAIN, *parts]
        if kind in (*LINEAR, "input") or (kind == "add" and parts[0].uniform):
            span = parts[0].span(*span)
            at = self._joined(self.operations[base], parts[0], parts[0].scheme(*span), end)
            parts = parts[1:]
        else:
            at = self.tensor(base)
        for segment in parts:
            span = segment.span(*span)
            if not segment.same:
                at = self.building.rescaled(at, segment, segment.scheme(*span), end)
        for pool in pools:
            at = self.building.max_pool(pool, at)
        return at

    def _joined(self, operation: Operation, segment: Segment, scheme: IntegerTensor, end: Operation) -> int:
        """Emits an operation with the segment that follows it."""
        if operation.kind == "input":
            self.input = self.building.new(operation, dataclasses.replace(scheme, shape=operation.shape))
            return self.input
        read = [self.tensor(number) for number in operation.inputs]
        if operation.kind == "add":
            return self.building.add(operation, read, segment, scheme, end)
        return self.building.linear(operation, read[0], segment, scheme, end)

    def _sign(self, number: int, operation: Operation) -> int:
        """Emits one bit: by thresholds on the sums of a layer if its other readers, if any, want the same bit."""
        settings = operation.settings
        channels = self.operations[operation.inputs[0]].shape[-1]
        start = np.broadcast_to(settings["threshold"], (channels,))
        bits = [rules.Rule(1, Fraction(float(each)), settings["strict"]) for each in start]
        bit = IntegerTensor("", operation.shape, abs(settings["high"]), 0, -1, 1, 1)
        at = self._bits(operation.inputs[0], bits, bit, operation)
        return at if settings["high"] > 0 else self.building.flipped(at, np.full(channels, -1, np.int32), operation)

    def _bits(self, number: int, bits: list[rules.Rule], bit: IntegerTensor, end: Operation) -> int:
        operation = self.operations[number]
        while operation.kind in ("affine", "clamp") and self.uses[number] == 1:
            settings = operation.settings
            if operation.kind == "affine":
                bits = rules.before_affine(bits, settings["scale"], settings["shift"])
            elif settings["low"].size == settings["high"].size == 1:
                bits = rules.before_clamp(bits, float(settings["low"][0]), float(settings["high"][0]))
            else:
                break
            number = operation.inputs[0]
            operation = self.operations[number]
        if self.uses[number] == 1 and operation.kind in LINEAR:
            read = self.tensor(operation.inputs[0])
            written = self.building.new(end, dataclasses.replace(bit, shape=operation.shape))
            return self.building.linear_bits(operation, read, bits, written)
        if self.uses[number] == 1 and operation.kind == "max_pool":
            flips = np.array([each.direction for each in bits], np.int32)
            rising = [each if each.direction > 0 else rules.opposite(each) for each in bits]
            at = self.building.max_pool(operation, self._bits(operation.inputs[0], rising, bit, end))
            return self.building.flipped(at, flips, operation)
        if self.uses[number] == 1 and operation.kind == "input" and all(each == (1, 0, False) for each in bits):
            self.input = self.building.new(operation, bit)
            return self.input
        read = self.tensor(number)
        tensor = self.building.tensors[read]
        signs, values = rules.on_integers(bits, [tensor.scale] * len(bits))
        written = self.building.new(end, dataclasses.replace(bit, shape=tensor.shape))
        return self.building.put(Threshold(end.path, (read,), written, signs, values))


def _serves_input(segment: Segment) -> bool:
    """Tells whether the network's input may have the very codes that a segment makes of it."""
    return segment.uniform and not segment.offset and math.isclose(segment.factor * segment.scale[0], 1, rel_tol=1e-5)
