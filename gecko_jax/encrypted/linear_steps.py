"""Steps that are linear in the data, as sparse matrices from flattened operand to flattened result.

Entries are placed by numbering: an array of the operand's positions goes the way that the data would go.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy import sparse

from gecko_jax.programs import Step, run_step

BASIS_ENTRIES = 2**24  # numbers that are computed at once when a step is probed with unit vectors


def numbered(shape: Sequence[int]) -> np.ndarray:
    """Returns the flat position of each entry of an array: int32."""
    return np.arange(math.prod(shape), dtype=np.int32).reshape(tuple(shape))


def matrix(rows: Any, columns: Any, values: Any, shape: tuple[int, int]) -> Any:
    """Returns a sparse matrix of entries that broadcast against each other; a negative column stands for padding."""
    rows, columns, values = np.broadcast_arrays(rows, columns, np.asarray(values, np.float64))
    chosen = (columns >= 0) & (values != 0)
    entries = values[chosen], (rows[chosen], columns[chosen])
    return sparse.csr_array(sparse.coo_array(entries, shape=shape))


def contraction(step: Step, constant: np.ndarray, data_is_left: bool, shape: tuple[int, ...]) -> Any:
    """Returns the matrix of a dot_general of data of `shape` with a constant.

    Args:
      step: the dot_general.
      constant: the other operand.
      data_is_left: whether the data are its first operand.
      shape: of the data.
    """
    rows, columns, other = product_places(step, numbered(shape), constant, data_is_left)
    return matrix(rows, columns, other, (math.prod(step.avals[0].shape), math.prod(shape)))


def product_places(
    step: Step, data: np.ndarray, other: np.ndarray, data_is_left: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (place of the result, data, other), [batch, free of data, free of other, contracted], of each product."""
    contracted, batch = step.params["dimension_numbers"]
    sides = (0, 1) if data_is_left else (1, 0)
    arrays = []
    for array, side in zip((data, other), sides, strict=True):
        used = (*batch[side], *contracted[side])
        free = [axis for axis in range(array.ndim) if axis not in used]
        sizes = [math.prod(array.shape[axis] for axis in axes) for axes in (batch[side], free, contracted[side])]
        arrays.append(np.transpose(array, (*batch[side], *free, *contracted[side])).reshape(sizes))
    data, other = arrays
    (b, n, _), m = data.shape, other.shape[1]
    places = numbered((b, n, m) if data_is_left else (b, m, n))
    places = places if data_is_left else places.transpose(0, 2, 1)
    return places[..., None], data[:, :, None, :], other[:, None, :, :]


def convolution(step: Step, kernel: np.ndarray, shape: tuple[int, ...]) -> Any:
    """Returns the matrix of a convolution of data of `shape` with a kernel: any stride, padding, dilation, groups.

    Args:
      step: the conv_general_dilated.
      kernel: its second operand.
      shape: of the data.
    """
    params, result = step.params, step.avals[0].shape
    dims = params["dimension_numbers"]
    kernel = kernel.transpose(dims.rhs_spec)  # [out, in of a group, *spatial]
    places = numbered(result).transpose(dims.out_spec)
    spatial = places.ndim - 2
    windows = [
        _window(places.shape[2 + i], shape[dims.lhs_spec[2 + i]], kernel.shape[2 + i], _Stride(
            params["window_strides"][i], params["padding"][i][0], params["lhs_dilation"][i], params["rhs_dilation"][i]
        ))
        for i in range(spatial)
    ]  # fmt: skip
    columns = _windowed(numbered(shape).transpose(dims.lhs_spec), windows)  # [n, in, *out spatial, *kernel spatial]
    out, group = kernel.shape[:2]
    per_group = out // params["feature_group_count"]
    channels = np.arange(out)[:, None] // per_group * group + np.arange(group)[None]
    columns = columns[:, channels]  # [n, out, in of a group, *out spatial, *kernel spatial]
    rows = places[(slice(None), slice(None), None, *[slice(None)] * spatial, *[None] * spatial)]
    values = kernel[(None, slice(None), slice(None), *[None] * spatial, *[slice(None)] * spatial)]
    return matrix(rows, columns, values, (math.prod(result), math.prod(shape)))


def window_sum(step: Step, shape: tuple[int, ...]) -> Any:
    """Returns the matrix of a sum over windows of data of `shape`, as average pools compute it.

    Args:
      step: the reduce_window_sum.
      shape: of the data.
    """
    params, result = step.params, step.avals[0].shape
    windows = [
        _window(result[i], shape[i], params["window_dimensions"][i], _Stride(
            params["window_strides"][i], params["padding"][i][0], params["base_dilation"][i],
            params["window_dilation"][i]
        ))
        for i in range(len(shape))
    ]  # fmt: skip
    columns = _windowed(numbered(shape)[None, None], windows)[0, 0]
    rows = numbered(result)[(..., *[None] * len(shape))]
    return matrix(rows, columns, 1.0, (math.prod(result), math.prod(shape)))


def axis_sum(step: Step, shape: tuple[int, ...]) -> Any:
    """Returns the matrix of a sum of data of `shape` over axes.

    Args:
      step: the reduce_sum.
      shape: of the data.
    """
    sizes = [1 if axis in step.params["axes"] else size for axis, size in enumerate(shape)]
    rows = np.broadcast_to(numbered(sizes), shape)
    return matrix(rows, numbered(shape), 1.0, (math.prod(sizes), math.prod(shape)))


def probed(step: Step, operands: Sequence[Any], place: int) -> Any:
    """Returns the matrix of a linear step by its results at unit vectors, a few at a time.

    Args:
      step: one that is linear in all the operands that are zero.
      operands: of the step; those that it is linear in are zero.
      place: of the operand whose matrix is returned.
    """
    shape = np.shape(operands[place])
    size = math.prod(shape)
    chunk = max(1, BASIS_ENTRIES // max(size, math.prod(step.avals[0].shape), 1))
    run = jax.vmap(lambda v: run_step(step, [*operands[:place], v, *operands[place + 1 :]])[0].ravel())
    parts = []
    for first in range(0, size, chunk):
        last = min(first + chunk, size)
        unit = np.zeros((last - first, size), np.float32)
        unit[np.arange(last - first), np.arange(first, last)] = 1
        parts.append(sparse.csr_array(np.asarray(run(unit.reshape(-1, *shape)), np.float64)))
    return sparse.csr_array(sparse.vstack(parts).T)


class _Stride(NamedTuple):
    """How the windows of one axis are placed: stride, padding in front, dilation of the data and of the window."""

    stride: int
    before: int
    spread: int
    dilation: int


def _window(out: int, size: int, taps: int, steps: _Stride) -> np.ndarray:
    """Returns which entry of an axis of `size` each tap of each window reads, [out, taps]; -1 for padding."""
    stride, before, spread, dilation = steps
    place = np.arange(out)[:, None] * stride - before + np.arange(taps)[None] * dilation
    inside = (place >= 0) & (place % spread == 0) & (place // spread < size)
    return np.where(inside, place // spread, -1)


def _windowed(places: np.ndarray, windows: Sequence[np.ndarray]) -> np.ndarray:
    """Returns [n, channels, *out, *taps] of places [n, channels, *spatial]; -1 for padding."""
    for axis, window in enumerate(windows):
        taken = np.take(places, np.maximum(window, 0), axis=2 + 2 * axis)
        inside = window >= 0
        inside = inside.reshape((1,) * (2 + 2 * axis) + inside.shape + (1,) * (taken.ndim - 4 - 2 * axis))
        places = np.where(inside, taken, -1)
    count = len(windows)
    return places.transpose(0, 1, *(2 + 2 * i for i in range(count)), *(3 + 2 * i for i in range(count)))
