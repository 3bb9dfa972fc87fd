"""Each node as C: its constants, its structure and its call."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from gecko_jax.export.c99 import text
from gecko_jax.export.c99.weights import is_binary, packed, packed_words, rows, storage_bits
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
    Threshold,
    Weighted,
)

_STAGE_BYTES = 4 * 4 + 5 * 4  # on a processor of 32 bits


@dataclasses.dataclass
class Statement:
    """A node in C.

    Attributes:
      kernels: names of the files that its call needs, in order.
      arrays: name -> constant.
      structure: its C type, and its fields.
      call: the kernel, and whether it takes the scratch memory.
      structure_bytes: of the structure on a processor of 32 bits.
      scratch_bytes: that the call needs.
    """

    kernels: tuple[str, ...]
    arrays: dict[str, np.ndarray]
    structure: tuple[str, dict[str, Any]]
    call: str
    structure_bytes: int
    scratch_bytes: int = 0

    def definitions(self, name: str) -> str:
        """Returns the constants as C."""
        arrays = "".join(text.array(key, values) for key, values in self.arrays.items())
        return arrays + text.structure(self.structure[0], name, self.structure[1])


def statement(step: int, node: Node, inputs: list[IntegerTensor], output: IntegerTensor) -> Statement:
    """Returns a node as C; a Reshape has none.

    Args:
      step: number of the node, which its constants' names end with.
      node: of a graph.
      inputs: the tensors that it reads.
      output: the tensor that it writes.

    Raises:
      ValueError: a kind of node, a number of axes or a window that the C code lacks, naming the node's path.
    """
    for kind, build in _KINDS.items():
        if isinstance(node, kind):
            return build(step, node, inputs, output)
    raise ValueError(
        f"{node.label} is a {type(node).__name__}, which has no C code; expected one of "
        f"{', '.join(kind.__name__ for kind in _KINDS)}."
    )


def _stage(step: int, stage: Any, zero_point: int, shift: np.ndarray | None = None) -> tuple[dict, dict[str, Any]]:
    """(arrays, fields) of a stage; `shift` is what the sums still lack, which thresholds take up."""
    if not isinstance(stage, Rescale):
        values = stage.values.astype(np.int64) - (0 if shift is None else shift)
        values = np.clip(values, -(2**31), 2**31 - 1).astype(np.int32)  # no sum reaches either end
        return {f"thresholds_{step}": values}, {"thresholds": f"thresholds_{step}"}
    fields = {"multipliers": f"multipliers_{step}", "shifts": f"shifts_{step}"}
    fields |= {"per_channel": int(stage.multipliers.size > 1), "left_shift": stage.left_shift}
    fields |= {"zero_point": zero_point, "low": stage.low, "high": stage.high}
    arrays = {fields["multipliers"]: stage.multipliers.astype(np.int32), fields["shifts"]: stage.shifts.astype(np.int8)}
    return arrays, fields


def _weighted(step: int, node: Weighted, inputs: list[IntegerTensor], output: IntegerTensor) -> Statement:
    [read] = inputs
    binary, depthwise = is_binary(node, read.bits), isinstance(node, Depthwise)
    codes, bits = rows(node), storage_bits(node)
    weights = packed_words(codes) if binary else packed(codes, bits)
    arrays = {f"weights_{step}": weights}
    sums = node.weights.astype(np.int64).reshape(-1, codes.shape[0] if not depthwise else codes.shape[1]).sum(0)
    left = node.stage.left_shift if isinstance(node.stage, Rescale) else 0
    bias = node.bias.astype(np.int64) - (read.zero_point * sums << left)
    _check_sums(node, read, bias, left)
    stage_arrays, stage = _stage(step, node.stage, output.zero_point, bias)
    arrays |= stage_arrays
    fields = _window(node, read, output)
    fields |= {"weight_bits": bits, "weights": f"weights_{step}"}
    if isinstance(node.stage, Rescale) and bias.any():
        arrays[f"bias_{step}"] = bias.astype(np.int32)
        stage["bias"] = f"bias_{step}"
    size = 4 * 20 + _STAGE_BYTES
    fields["stage"] = stage
    if binary:
        words = codes.shape[1] + 31 >> 5
        image = read.size + 31 >> 5
        dense = read.size == codes.shape[1] and not (fields["pad_top"] or fields["pad_left"])
        scratch = 4 * (image + (0 if dense else words))
        return Statement(("layer", "binary"), arrays, ("layer_t", fields), "binary_conv", size, scratch)
    if depthwise:
        kernels, scratch = ("unpack", "products", "depthwise"), 0 if bits == 8 else codes.size
    elif bits == 8:
        kernels, scratch = ("products", "conv8"), 0 if node.weights.ndim == 2 else codes.shape[1]
    else:
        kernels, scratch = ("unpack", "products", "conv"), 2 * codes.shape[1]
    return Statement(("layer", *kernels), arrays, ("layer_t", fields), kernels[-1], size, scratch)


def _window(node: Weighted, read: IntegerTensor, output: IntegerTensor) -> dict[str, Any]:
    outputs = node.weights.shape[-1]
    if isinstance(node, Dense):
        inputs = node.weights.shape[0]
        names = "in_height in_width in_channels out_height out_width outputs kernel_height kernel_width groups"
        fields = dict(zip(names.split(), (1, 1, inputs, 1, 1, outputs, 1, 1, 1), strict=True))
        fields |= {"group_inputs": inputs, "group_outputs": outputs}
        return (
            fields
            | dict.fromkeys(("stride_y", "stride_x", "dilation_y", "dilation_x"), 1)
            | {"pad_top": 0, "pad_left": 0, "pad_code": 0}
        )
    assert isinstance(node, Conv)
    height, width, channels = _image(node, read)
    (stride_y, stride_x), (dilation_y, dilation_x) = node.strides, node.dilation
    return {
        "in_height": height, "in_width": width, "in_channels": channels,
        "out_height": output.shape[0], "out_width": output.shape[1], "outputs": outputs,
        "kernel_height": node.weights.shape[0], "kernel_width": node.weights.shape[1],
        "groups": node.groups, "group_inputs": node.weights.shape[2], "group_outputs": outputs // node.groups,
        "stride_y": stride_y, "stride_x": stride_x, "dilation_y": dilation_y, "dilation_x": dilation_x,
        "pad_top": node.padding[0][0], "pad_left": node.padding[1][0], "pad_code": node.pad_code,
    }  # fmt: skip


def _image(node: Node, tensor: IntegerTensor) -> tuple[int, ...]:
    if len(tensor.shape) != 3:
        raise ValueError(f"{node.label} reads shape {tensor.shape}; the C code expects (height, width, channels).")
    return tensor.shape


def _check_sums(node: Weighted, read: IntegerTensor, bias: np.ndarray, left: int) -> None:
    codes = max(abs(read.low), abs(read.high), abs(getattr(node, "pad_code", 0)))
    sizes = np.abs(node.weights.astype(np.int64)).reshape(-1, node.weights.shape[-1]).sum(0)
    largest = int(((codes * sizes << left) + np.abs(bias)).max())
    shift = max(int(node.stage.shifts.max()), 0) if isinstance(node.stage, Rescale) else 0
    if largest << shift >= 2**31 - 1:
        raise ValueError(
            f"{node.label} may sum to {largest} * 2^{shift}, which leaves 32 bits. Use fewer inputs, or weights or "
            "inputs of fewer bits."
        )


def _pool(step: int, node: Any, inputs: list[IntegerTensor], output: IntegerTensor) -> Statement:
    height, width, channels = _image(node, inputs[0])
    average = isinstance(node, AveragePool)
    border = average and node.counts_border
    if any(max(pads) >= side for pads, side in zip(node.padding, node.window, strict=True)) and not border:
        raise ValueError(f"{node.label} has windows {node.window} that lie in its border {node.padding} as a whole.")
    fields = {
        "in_height": height, "in_width": width, "channels": channels,
        "out_height": output.shape[0], "out_width": output.shape[1],
        "window_height": node.window[0], "window_width": node.window[1],
        "stride_y": node.strides[0], "stride_x": node.strides[1],
        "pad_top": node.padding[0][0], "pad_left": node.padding[1][0],
        "border": int(border), "border_code": inputs[0].zero_point,
    }  # fmt: skip
    kernel = "average_pool" if average else "max_pool"
    return Statement(("pool", kernel), {}, ("pool_t", fields), kernel, 4 * len(fields))


def _add(step: int, node: Add, inputs: list[IntegerTensor], output: IntegerTensor) -> Statement:
    arrays, stage = _stage(step, node.stage, output.zero_point)
    fields = {
        "size": output.size,
        "left_shift": node.left_shift,
        "zero_points": tuple(tensor.zero_point for tensor in inputs),
        "multipliers": tuple(node.multipliers),
        "shifts": tuple(node.shifts),
        "stage": stage | {"left_shift": 0},
    }
    return Statement(("add",), arrays, ("add_t", fields), "add", 4 * 8 + _STAGE_BYTES)


def _requantize(step: int, node: Requantize, inputs: list[IntegerTensor], output: IntegerTensor) -> Statement:
    arrays, stage = _stage(step, node.stage, output.zero_point)
    fields = {"size": output.size, "zero_point": inputs[0].zero_point, "stage": stage}
    return Statement(("requantize",), arrays, ("requantize_t", fields), "requantize", 4 * 2 + _STAGE_BYTES)


def _threshold(step: int, node: Threshold, inputs: list[IntegerTensor], output: IntegerTensor) -> Statement:
    channels = node.values.size
    arrays = {f"signs_{step}": node.signs.astype(np.int8), f"values_{step}": node.values.astype(np.int32)}
    fields = {"pixels": output.size // channels, "channels": channels, "zero_point": inputs[0].zero_point}
    fields |= {"signs": f"signs_{step}", "values": f"values_{step}"}
    return Statement(("threshold",), arrays, ("threshold_t", fields), "threshold", 4 * 5)


_KINDS: dict[type, Any] = {
    Weighted: _weighted,
    MaxPool: _pool,
    AveragePool: _pool,
    Add: _add,
    Requantize: _requantize,
    Threshold: _threshold,
}
