"""What windows, borders, products and slices of a program are to a `Reader`; None for what it cannot read."""

from __future__ import annotations

from typing import Any

import numpy as np

from gecko_jax.integer.freezing.reader import Blocks, Reader, View
from gecko_jax.programs import Step

Values = list[Any]
# How a convolution names the axes of images, and of sequences, with channels last.
IMAGES = (0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2)
SEQUENCES = (0, 2, 1), (2, 1, 0), (0, 2, 1)


def read_windows(reader: Reader, step: Step, inputs: Values) -> Any:
    """Reads a maximum or a sum over windows."""
    params = step.params
    sides, strides, padding = params["window_dimensions"], params["window_strides"], params["padding"]
    plain = all(d == 1 for d in (*params["base_dilation"], *params["window_dilation"]))
    outer = [(sides[axis], strides[axis], tuple(padding[axis])) for axis in (0, -1)]
    if len(sides) not in (3, 4) or not plain or any(each != (1, 1, (0, 0)) for each in outer):
        return None
    kind = "max_pool" if step.name == "reduce_window_max" else "sum_pool"
    source, shape = reader.image(inputs[0]), tuple(step.avals[0].shape)
    size = _two(shape[1:-1], 1)
    pool = reader.pool(kind, source, _two(sides[1:-1], 1), _two(strides[1:-1], 1), _two(padding[1:-1], (0, 0)), size)
    return View(pool.operation, shape)


def _two(values: Any, other: Any) -> tuple[Any, Any]:
    """Returns a setting of both axes of an image; of a sequence the second is `other`."""
    first, second = (*values, other)[:2]
    return first, second


def read_reduction(reader: Reader, step: Step, inputs: Values) -> Any:
    """Reads a maximum or a sum over all positions, or over blocks."""
    value, axes, shape = inputs[0], tuple(step.params["axes"]), tuple(step.avals[0].shape)
    maximum = step.name == "reduce_max"
    if isinstance(value, Blocks):
        side = (value.side, value.side)
        if not maximum or axes != (2, 4):
            return None
        return reader.pool("max_pool", value.source, side, side, ((0, 0), (0, 0)), shape[1:3])
    view = reader.view(value)
    if axes != {3: (1,), 4: (1, 2)}.get(len(view.shape)):
        return None
    kind, source = "max_pool" if maximum else "sum_pool", reader.image(view)
    pool = reader.pool(kind, source, _two(view.shape[1:-1], 1), (1, 1), ((0, 0), (0, 0)), (1, 1))
    return View(pool.operation, shape)


def read_padding(reader: Reader, step: Step, inputs: Values) -> Any:
    """Reads a border."""
    value, border = inputs
    (first, *spatial, last), view = step.params["padding_config"], reader.view(value)
    if len(view.shape) != 4 or any(first) or any(last) or any(min(each) < 0 or each[2] for each in spatial):
        return None
    source, shape = reader.operation(view), tuple(step.avals[0].shape)
    settings = {"padding": tuple(tuple(each[:2]) for each in spatial), "value": float(border)}
    return reader.new("pad", (source,), shape[1:], settings)


def read_slice(reader: Reader, step: Step, inputs: Values) -> Any:
    """Reads a part of an image, which may become a window."""
    value = inputs[0]
    shape = value.shape if isinstance(value, View) else (reader.rows, *value.size, step.avals[0].shape[-1])
    return reader.slices(value, step, shape)


def read_product(reader: Reader, step: Step, inputs: Values) -> Any:
    """Reads a product with weights: a dense layer, or a convolution by one pixel."""
    value, weights = inputs
    contracted, batch = step.params["dimension_numbers"]
    if isinstance(value, np.ndarray) or not isinstance(weights, np.ndarray) or any(batch) or weights.ndim != 2:
        return None
    view = reader.view(value)
    if tuple(contracted[0]) != (len(view.shape) - 1,) or len(view.shape) not in (2, 3, 4):
        return None
    weights = weights if tuple(contracted[1]) == (0,) else weights.T
    shape = tuple(step.avals[0].shape)
    if len(shape) == 2:
        settings = {"weights": np.ascontiguousarray(weights, np.float64)}
        return reader.new("dense", (reader.operation(view),), shape[1:], settings)
    geometry = {"strides": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1, "border": 0.0}
    source, settings = reader.image(view), {"weights": np.asarray(weights[None, None], np.float64), **geometry}
    image = reader.new("conv", (source,), (*_two(shape[1:-1], 1), shape[-1]), settings)
    return View(image.operation, shape)


def read_convolution(reader: Reader, step: Step, inputs: Values) -> Any:
    """Reads a convolution of images."""
    value, weights = inputs
    params, shape = step.params, tuple(step.avals[0].shape)
    dims = params["dimension_numbers"]
    axes = tuple(dims.lhs_spec), tuple(dims.rhs_spec), tuple(dims.out_spec)
    if isinstance(value, np.ndarray) or not isinstance(weights, np.ndarray) or axes not in (IMAGES, SEQUENCES):
        return None
    if params["batch_group_count"] != 1 or any(each != 1 for each in params["lhs_dilation"]):
        return None
    source, padding, border = reader.without_pad(reader.image(value), _two(params["padding"], (0, 0)))
    settings = {
        "weights": np.asarray(weights if axes == IMAGES else weights[:, None], np.float64),
        "strides": _two(params["window_strides"], 1),
        "padding": padding,
        "dilation": _two(params["rhs_dilation"], 1),
        "groups": params["feature_group_count"],
        "border": border or 0.0,
    }
    image = reader.new("conv", (source,), (*_two(shape[1:-1], 1), shape[-1]), settings)
    return View(image.operation, shape)
