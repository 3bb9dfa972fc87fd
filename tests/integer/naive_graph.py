"""An integer network in NumPy's 64-bit integers, one window after another, by the definitions of gemmlowp and TFLM."""

import numpy as np

from gecko_jax.integer import nodes


def high_product(a, b):
    """SaturatingRoundingDoublingHighMul."""
    if a == b == -(2**31):
        return 2**31 - 1
    product = a * b
    nudged = product + (2**30 if product >= 0 else 1 - 2**30)
    return nudged // 2**31 if nudged >= 0 else -(-nudged // 2**31)  # C truncates


def divided(x, exponent):
    """RoundingDivideByPOT."""
    mask = 2**exponent - 1
    return (x >> exponent) + ((x & mask) > (mask >> 1) + (x < 0))


def rescaled(x, multiplier, shift):
    """MultiplyByQuantizedMultiplier."""
    x, multiplier, shift = int(x) << max(int(shift), 0), int(multiplier), int(shift)
    assert -(2**31) <= x < 2**31, "a sum that is shifted left leaves 32 bits"
    return divided(high_product(x, multiplier), max(-shift, 0))


def staged(sums, stage, zero_point):
    """Codes of sums [..., channels]."""
    assert np.all(np.abs(sums) < 2**31), "a sum leaves 32 bits"
    if not isinstance(stage, nodes.Rescale):
        return np.where(sums >= stage.values, 1, -1)
    channels = sums.shape[-1]
    pairs = [np.broadcast_to(each, (channels,)) for each in (stage.multipliers, stage.shifts)]
    codes = np.empty(sums.shape, np.int64)
    for index in np.ndindex(sums.shape):
        codes[index] = rescaled(sums[index], pairs[0][index[-1]], pairs[1][index[-1]]) + zero_point
    return np.clip(codes, stage.low, stage.high)


def windows(x, node, size, border, dilation=(1, 1)):
    """Yields (row, column, [b, height, width, channels] under the window) of images with a border."""
    x = np.pad(x, ((0, 0), *node.padding, (0, 0)), constant_values=border)
    spans = [(side - 1) * step + 1 for side, step in zip(size, dilation, strict=True)]
    for row, top in enumerate(range(0, x.shape[1] - spans[0] + 1, node.strides[0])):
        for column, left in enumerate(range(0, x.shape[2] - spans[1] + 1, node.strides[1])):
            yield row, column, x[:, top : top + spans[0] : dilation[0], left : left + spans[1] : dilation[1]]


def product(node, x, read):
    """Sums of a dense layer or a convolution."""
    left = node.stage.left_shift if isinstance(node.stage, nodes.Rescale) else 0
    w = node.weights.astype(np.int64) << left
    if isinstance(node, nodes.Dense):
        return (x - read.zero_point) @ w + node.bias
    rows, outputs = {}, w.shape[-1]
    per_group, inputs = outputs // node.groups, w.shape[2]
    for row, column, window in windows(x, node, w.shape[:2], node.pad_code, node.dilation):
        sums = []
        for c in range(outputs):
            group = c // per_group
            part = window[..., group * inputs : (group + 1) * inputs] - read.zero_point
            sums.append((part * w[None, ..., c]).sum((1, 2, 3)) + node.bias[c])
        rows[row, column] = np.stack(sums, -1)
    return tiled(rows)


def tiled(rows):
    """[b, rows, columns, channels] of {(row, column): [b, channels]}."""
    down, across = (1 + max(key[axis] for key in rows) for axis in (0, 1))
    return np.stack([np.stack([rows[i, j] for j in range(across)], 1) for i in range(down)], 1)


def average(node, x, read):
    """Means of windows, by C's division."""
    if node.counts_border:
        marked = x * 2 + 1  # odd, so that a border of 0 would show
        border = read.zero_point * 2 + 1
    else:
        marked, border = x * 2 + 1, 0
    rows = {}
    for row, column, window in windows(marked, node, node.window, border):
        inside = window[:1, ..., :1] % 2 == 1
        total, count = np.where(window % 2 == 1, (window - 1) // 2, 0).sum((1, 2)), int(inside.sum())
        rows[row, column] = np.sign(total) * ((np.abs(total) + count // 2) // count)
    return tiled(rows)


def run(graph, codes, values=None):
    """Codes of the output, int64; `values` holds those of the tensors."""
    values = {} if values is None else values
    values[graph.input] = np.asarray(codes, np.int64)
    for node in graph.nodes:
        inputs, reads = [values[n] for n in node.inputs], [graph.tensors[n] for n in node.inputs]
        x, read, written = inputs[0], reads[0], graph.tensors[node.output]
        if isinstance(node, nodes.Weighted):
            y = staged(product(node, x, read), node.stage, written.zero_point)
        elif isinstance(node, nodes.Add):
            total = np.zeros(x.shape, np.int64)
            for value, tensor, multiplier, shift in zip(inputs, reads, node.multipliers, node.shifts, strict=True):
                shifted = (value - tensor.zero_point) << node.left_shift
                total += np.vectorize(lambda v, m=multiplier, s=shift: rescaled(v, m, s))(shifted)
            y = staged(total, node.stage, written.zero_point)
        elif isinstance(node, nodes.MaxPool):
            y = tiled({(i, j): w.max((1, 2)) for i, j, w in windows(x, node, node.window, -128)})
        elif isinstance(node, nodes.AveragePool):
            y = average(node, x, read)
        elif isinstance(node, nodes.Requantize):
            y = staged((x - read.zero_point) << node.stage.left_shift, node.stage, written.zero_point)
        elif isinstance(node, nodes.Threshold):
            y = np.where((x - read.zero_point) * node.signs >= node.values, 1, -1)
        else:
            assert isinstance(node, nodes.Reshape)
            y = x.reshape(len(x), *written.shape)
        assert y.shape[1:] == written.shape
        assert y.min() >= written.low and y.max() <= written.high
        assert written.bits != 1 or set(np.unique(y)) <= {-1, 1}
        values[node.output] = y
    return values[graph.output]
