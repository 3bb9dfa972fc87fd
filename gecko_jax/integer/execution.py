"""Runs the nodes of an integer network in JAX: int8 codes, int32 sums, no floating point."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from gecko_jax.convolutions import add_border
from gecko_jax.integer.fixed_point import rescale
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
    Threshold,
)
from gecko_jax.types import Array


def run_node(node: Node, inputs: list[Array], tensors: list[IntegerTensor], output: IntegerTensor) -> Array:
    """Computes the codes that a node writes.

    Args:
      node: of a graph.
      inputs: int8 codes [b, *shape] of the tensors that it reads.
      tensors: these tensors.
      output: the tensor that it writes.

    Returns:
      int8 codes [b, *output.shape].

    >>> pair = [IntegerTensor("x", (2,), 1.0), IntegerTensor("y", (2, 1), 1.0)]
    >>> run_node(Reshape("", (0,), 1), [jnp.array([[1, 2]], jnp.int8)], pair[:1], pair[1]).tolist()
    [[[1], [2]]]
    """
    return _KINDS[type(node)](node, inputs, tensors, output)


def staged(total: Array, stage: Any, zero_point: int) -> Array:
    """Returns the int8 codes that a stage makes of int32 sums [..., c].

    >>> stage = Rescale(np.array([2**30], np.int32), np.array([0], np.int32), -128, 127)
    >>> staged(jnp.array([[5, -900]]), stage, 1).tolist()
    [[4, -128]]
    """
    if not isinstance(stage, Rescale):
        return _bit(total >= _last(stage.values, total))
    codes = rescale(total, stage.multipliers, stage.shifts) + np.int32(zero_point)
    return jnp.clip(codes, stage.low, stage.high).astype(jnp.int8)


def _bit(positive: Array) -> Array:
    return jnp.where(positive, np.int8(1), np.int8(-1))


def _weighted(node, inputs, tensors, output):
    x, [read] = jnp.asarray(inputs[0]), tensors
    weights = jnp.asarray(node.weights)
    if isinstance(node, Dense):
        total = jnp.dot(x, weights, preferred_element_type=jnp.int32)
    else:
        total = lax.conv_general_dilated(
            jnp.asarray(add_border(x, node.padding, np.int8(node.pad_code))),
            weights,
            node.strides,
            "VALID",
            rhs_dilation=node.dilation,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=node.groups,
            preferred_element_type=jnp.int32,
        )
    # The sum of (q - zero_point) * w is that of q * w less zero_point times the sum of w; both wrap around alike.
    sums = node.weights.astype(np.int64).reshape(-1, node.weights.shape[-1]).sum(0)
    total = _shifted(total - _last((read.zero_point * sums).astype(np.int32), total), node.stage) + _last(
        node.bias, total
    )
    return staged(total, node.stage, output.zero_point)


def _last(vector: np.ndarray, x: Array) -> Array:
    return jnp.asarray(vector.reshape((1,) * (x.ndim - 1) + (-1,)))


def _shifted(total: Array, stage: Any) -> Array:
    left = stage.left_shift if isinstance(stage, Rescale) else 0
    return total << left if left else total


def _add(node, inputs, tensors, output):
    total = jnp.zeros((), jnp.int32)
    for x, read, multiplier, shift in zip(inputs, tensors, node.multipliers, node.shifts, strict=True):
        shifted = _centered(x, read) << node.left_shift
        total = total + rescale(shifted, np.array([multiplier]), np.array([shift]))
    return staged(total, node.stage, output.zero_point)


def _max_pool(node, inputs, tensors, output):
    return _windows(inputs[0], np.int8(-128), lax.max, node)


def _average_pool(node, inputs, tensors, output):
    x, border = inputs[0].astype(jnp.int32), ((0, 0), *node.padding, (0, 0))
    ones = np.pad(np.ones((1, *x.shape[1:3], 1), np.int32), border, constant_values=int(node.counts_border))
    views = np.lib.stride_tricks.sliding_window_view(ones, node.window, (1, 2))
    counts = views[:, :: node.strides[0], :: node.strides[1]].sum((-2, -1), dtype=np.int32)
    if node.counts_border:
        x = add_border(x, node.padding, np.int32(tensors[0].zero_point))
    total = _windows(x, np.int32(0), lax.add, node, padded=node.counts_border)
    half, counts = jnp.asarray(counts // 2), jnp.asarray(counts)
    # The quotient is truncated, as in C.
    return lax.div(*jnp.broadcast_arrays(total + jnp.where(total > 0, half, -half), counts)).astype(jnp.int8)


def _windows(x: Array, start: Any, join: Any, node: MaxPool | AveragePool, padded: bool = False) -> Array:
    padding = ((0, 0), *(((0, 0), (0, 0)) if padded else node.padding), (0, 0))
    return lax.reduce_window(x, start, join, (1, *node.window, 1), (1, *node.strides, 1), padding)


def _requantize(node, inputs, tensors, output):
    return staged(_shifted(_centered(inputs[0], tensors[0]), node.stage), node.stage, output.zero_point)


def _threshold(node, inputs, tensors, output):
    x = _centered(inputs[0], tensors[0])
    return _bit(x * _last(node.signs, x) >= _last(node.values, x))


def _reshape(node, inputs, tensors, output):
    return inputs[0].reshape(-1, *output.shape)


def _centered(x: Array, tensor: IntegerTensor) -> Array:
    return x.astype(jnp.int32) - np.int32(tensor.zero_point)


_KINDS: dict[Any, Any] = {
    Add: _add,
    AveragePool: _average_pool,
    MaxPool: _max_pool,
    Requantize: _requantize,
    Reshape: _reshape,
    Threshold: _threshold,
    **dict.fromkeys((Dense, Conv, Depthwise), _weighted),
}
