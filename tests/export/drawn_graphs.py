"""Small integer networks by hand, with random constants: int8, 4-bit, ternary and 1-bit ones."""

import numpy as np

from gecko_jax.integer.graph import IntegerGraph
from gecko_jax.integer.nodes import (
    Add,
    AveragePool,
    Conv,
    Dense,
    Depthwise,
    IntegerTensor,
    MaxPool,
    Requantize,
    Rescale,
    Reshape,
    Threshold,
    Thresholds,
)

SAME = ((1, 1), (1, 1))
NONE = ((0, 0), (0, 0))


class Drawing:
    """Grows a network from its input; each method appends a node that reads the last tensor."""

    def __init__(self, seed, shape, bits=8):
        self.rng = np.random.default_rng(seed)
        self.tensors, self.nodes = [self.tensor(shape, bits)], []

    def tensor(self, shape, bits=8):
        if bits == 1:
            return IntegerTensor("", tuple(shape), 1.0, 0, -1, 1, 1)
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        return IntegerTensor("", tuple(shape), 0.1, int(self.rng.integers(low, high)), low, high, bits)

    def weights(self, shape, bits):
        high = {1: 1, 2: 1}.get(bits, 2 ** (bits - 1) - 1)
        codes = self.rng.integers(-high, high, shape, np.int8, endpoint=True)
        return np.where(codes > 0, np.int8(1), np.int8(-1)) if bits == 1 else codes

    def rescale(self, outputs, size, output):
        """A stage that spreads sums of about `size` over the codes of a tensor."""
        shift = np.round(np.log2((output.high - output.low) / 4 / size)) + self.rng.integers(0, 2, outputs)
        multipliers = self.rng.integers(2**30, 2**31, outputs).astype(np.int32)
        left = int(self.rng.integers(0, 3))
        return Rescale(multipliers, (shift - left).astype(np.int32), output.low, output.high, left)

    def append(self, kind, shape, *fields, bits=8, reads=None, same=False, **named):
        read = self.tensors[-1]
        output = IntegerTensor("", tuple(shape), *list(vars(read).values())[2:]) if same else self.tensor(shape, bits)
        self.tensors.append(output)
        inputs = tuple(reads or (len(self.tensors) - 2,))
        fields = [field(output) if callable(field) else field for field in fields]
        self.nodes.append(kind(f"node_{len(self.nodes)}", inputs, len(self.tensors) - 1, *fields, **named))
        return self

    def weighted(self, kind, shape, out, weight_bits, bits=8, **named):
        read, outputs = self.tensors[-1], shape[-1]
        w = self.weights(shape, weight_bits)
        size = np.sqrt(np.prod(shape[:-1])) * np.abs(w).mean() * (read.high - read.low) / 3
        bias = self.rng.integers(-int(size) - 1, int(size) + 1, outputs).astype(np.int32)
        if bits == 1:
            stage = Thresholds(bias.copy())
            bias = np.zeros(outputs, np.int32)
        else:

            def stage(output):
                return self.rescale(outputs, size, output)

        return self.append(kind, out, w, np.ones(outputs), weight_bits, bias, stage, bits=bits, **named)

    def conv(self, size, outputs, weight_bits, bits=8, strides=(1, 1), padding=SAME, dilation=(1, 1), groups=1):
        """A convolution, or with as many groups as channels a depthwise one."""
        read = self.tensors[-1]
        height, width, channels = read.shape
        spans = [(side - 1) * step + 1 for side, step in zip(size, dilation, strict=True)]
        sides = [(side + sum(pad) - span) // stride + 1
                 for side, pad, span, stride in zip((height, width), padding, spans, strides, strict=True)]  # fmt: skip
        kind = Depthwise if groups == channels > 1 else Conv
        pad_code = 1 if read.bits == 1 else read.zero_point
        return self.weighted(kind, (*size, channels // groups, outputs), (*sides, outputs), weight_bits, bits,
                             strides=strides, padding=padding, pad_code=pad_code, dilation=dilation,
                             groups=groups)  # fmt: skip

    def dense(self, outputs, weight_bits, bits=8):
        return self.weighted(Dense, (self.tensors[-1].size, outputs), (outputs,), weight_bits, bits)

    def pool(self, kind, window, strides, padding=NONE, *counts):
        *image, channels = self.tensors[-1].shape
        sides = [(side + sum(pad) - span) // stride + 1
                 for side, pad, span, stride in zip(image, padding, window, strides, strict=True)]  # fmt: skip
        return self.append(kind, (*sides, channels), window, strides, padding, *counts, same=True)

    def add(self, earlier):
        pair = [(int(self.rng.integers(2**30, 2**31)), int(self.rng.integers(-3, 1))) for _ in range(2)]
        multipliers, shifts = zip(*pair, strict=True)

        def stage(output):
            return Rescale(np.array([2**30 + 12345], np.int32), np.array([-19], np.int32), output.low, output.high)

        reads = (len(self.tensors) - 1, earlier)
        return self.append(Add, self.tensors[-1].shape, 20, multipliers, shifts, stage, reads=reads)

    def requantize(self, bits):
        return self.append(Requantize, self.tensors[-1].shape, lambda output: self.rescale(1, 80, output), bits=bits)

    def threshold(self):
        shape = self.tensors[-1].shape
        signs = self.rng.choice(np.array([-1, 1], np.int32), shape[-1])
        values = self.rng.integers(-40, 40, shape[-1]).astype(np.int32)
        return self.append(Threshold, shape, signs, values, bits=1)

    def flat(self):
        return self.append(Reshape, (self.tensors[-1].size,), same=True)

    def graph(self):
        return IntegerGraph(tuple(self.tensors), tuple(self.nodes), 0, len(self.tensors) - 1)


def int8_network():
    drawing = Drawing(0, (4, 3, 3)).conv((3, 3), 4, 8).conv((3, 2), 4, 8, padding=((1, 1), (1, 0))).add(1)
    drawing.pool(AveragePool, (2, 3), (2, 1), ((0, 1), (1, 1)), False).conv((2, 2), 4, 8, strides=(1, 2), groups=4)
    return drawing.flat().dense(3, 8).graph()


def int4_network():
    drawing = Drawing(1, (4, 3, 2)).conv((2, 3), 4, 4, 4, dilation=(2, 1), groups=1).pool(MaxPool, (2, 2), (1, 2), SAME)
    drawing.conv((3, 2), 4, 4, 8, strides=(2, 1), groups=2).conv((1, 2), 8, 3, 8, padding=NONE, groups=4)
    return drawing.pool(AveragePool, (2, 2), (2, 1), SAME, True).requantize(4).flat().dense(5, 4).graph()


def ternary_network():
    drawing = Drawing(2, (4, 3, 2)).conv((3, 3), 3, 2, padding=((0, 1), (2, 1))).requantize(5).conv((1, 1), 5, 2)
    return drawing.pool(MaxPool, (3, 3), (2, 2)).flat().dense(4, 2).graph()


def binary_network():
    drawing = Drawing(3, (4, 3, 5)).threshold().conv((3, 3), 8, 1, 1).conv((3, 2), 6, 1, 1, strides=(2, 1), groups=2)
    drawing.conv((2, 2), 6, 1, 8, dilation=(1, 2), padding=((0, 0), (1, 1))).threshold()
    drawing.pool(MaxPool, (2, 2), (2, 2), ((1, 0), (0, 0))).flat().dense(6, 1, 1)
    return drawing.dense(3, 1).graph()


NETWORKS = {"int8": int8_network, "four": int4_network, "ternary": ternary_network, "binary": binary_network}
