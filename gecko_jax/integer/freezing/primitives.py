"""What each primitive of a program is to a `Reader`: one function for each, None for what it cannot read."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from gecko_jax.integer.freezing.reader import Blocks, Comparison, Read, Reader, View, Within
from gecko_jax.integer.freezing.spatial import (
    read_convolution,
    read_padding,
    read_product,
    read_reduction,
    read_slice,
    read_windows,
)
from gecko_jax.integer.freezing.windows import Windows
from gecko_jax.programs import Step

Values = list[Any]
UNIT = 1e-5  # relative; how close 1 / (pixels of a window) must come for a sum to be a mean


def _data(value: Any) -> bool:
    return not isinstance(value, np.ndarray)


def _same(reader: Reader, step: Step, inputs: Values) -> Any:
    return inputs[0] if jnp.issubdtype(step.avals[0].dtype, jnp.floating) else None


def _reshaped(reader: Reader, step: Step, inputs: Values) -> Any:
    value, shape = inputs[0], tuple(step.avals[0].shape)
    if isinstance(value, Windows) and value.join is None and value.places == {(0, 0)} and value.strides == (1, 1):
        return _blocks(reader, value.source, value.size, shape)
    if len(shape) == 6 and isinstance(value, View) and len(value.shape) == 4:
        return _blocks(reader, reader.operation(value), value.shape[1:3], shape)
    view = reader.view(value)
    same_rows = math.prod(shape) == math.prod(view.shape) and shape[:1] == (reader.rows,)
    if step.name == "broadcast_in_dim" and tuple(n for n in shape if n != 1) != tuple(n for n in view.shape if n != 1):
        return None
    return View(view.operation, shape) if same_rows else None


def _blocks(reader: Reader, source: int, size: tuple[int, ...], shape: tuple[int, ...]) -> Blocks | None:
    if len(shape) != 6:
        return None
    side = shape[2]
    return Blocks(source, side) if shape[:5] == (reader.rows, size[0] // side, side, size[1] // side, side) else None


def _affine(reader: Reader, value: Any, scale: Any, shift: Any) -> Any:
    return reader.elementwise(value, "affine", {"scale": np.asarray(scale), "shift": np.asarray(shift)})


def _add(reader: Reader, step: Step, inputs: Values) -> Any:
    left, right = inputs
    if not (_data(left) and _data(right)):
        value, constant = (left, right) if _data(left) else (right, left)
        return _affine(reader, value, 1.0, constant) if _unbroadcast(reader, step, value) else None
    pooled = reader.join(left, right, "add")
    if pooled is not None:
        return pooled
    operands = [reader.operation(each) for each in (left, right)]
    shapes = [reader.operations[each].shape for each in operands]
    return reader.new("add", operands, shapes[0], {}) if shapes[0] == shapes[1] else None


def _sub(reader: Reader, step: Step, inputs: Values) -> Any:
    left, right = inputs
    if _data(left) and _data(right):
        return None
    if not _unbroadcast(reader, step, left if _data(left) else right):
        return None
    return _affine(reader, left, 1.0, -right) if _data(left) else _affine(reader, right, -1.0, left)


def _mul(reader: Reader, step: Step, inputs: Values) -> Any:
    left, right = inputs
    if _data(left) and _data(right):
        return None
    value, constant = (left, right) if _data(left) else (right, left)
    return _scaled(reader, step, value, constant.astype(np.float64))


def _div(reader: Reader, step: Step, inputs: Values) -> Any:
    value, constant = inputs
    if not _data(value) or _data(constant):
        return None
    if not np.all(constant):
        raise reader.refusal("divides by 0")
    return _scaled(reader, step, value, 1 / constant.astype(np.float64))


def _scaled(reader: Reader, step: Step, value: Any, factor: np.ndarray) -> Any:
    view = reader.view(value)
    if not _unbroadcast(reader, step, view):
        return None
    operation = reader.operations[view.operation]
    if operation.kind == "sum_pool":
        shape, settings = operation.shape, operation.settings
        spread = np.broadcast_to(factor, view.shape).reshape(-1, *shape)
        for counts_border in (True, False):
            counts = pool_counts(reader.operations[operation.inputs[0]].shape, settings, counts_border)
            if np.allclose(spread * counts[None], 1.0, rtol=0, atol=UNIT):
                mean = reader.new("average_pool", operation.inputs, shape, {**settings, "counts_border": counts_border})
                return View(mean.operation, view.shape)
    return _affine(reader, view, factor, 0.0)


def pool_counts(shape: tuple[int, ...], settings: dict[str, Any], counts_border: bool) -> np.ndarray:
    """Returns how many pixels each window of a pool counts, [windows down, windows across, 1].

    Args:
      shape: of the image.
      settings: window, strides and padding.
      counts_border: whether the border's pixels count.
    """
    ones = np.pad(np.ones(shape[:2]), settings["padding"], constant_values=float(counts_border))
    windows = np.lib.stride_tricks.sliding_window_view(ones, settings["window"])
    down, across = settings["strides"]
    return windows[::down, ::across].sum((-2, -1))[..., None]


def _unbroadcast(reader: Reader, step: Step, value: Any) -> bool:
    """Tells whether the data are not repeated to meet a larger constant."""
    return isinstance(value, Windows) or tuple(step.avals[0].shape) == reader.view(value).shape


def _extreme(reader: Reader, step: Step, inputs: Values) -> Any:
    left, right = inputs
    if _data(left) and _data(right):
        return reader.join(left, right, "max") if step.name == "max" else None
    value, bound = (left, right) if _data(left) else (right, left)
    if not _unbroadcast(reader, step, value):
        return None
    low, high = (bound, np.array(np.inf)) if step.name == "max" else (np.array(-np.inf), bound)
    return _clipped(reader, value, low, high)


def _clipped(reader: Reader, value: Any, low: np.ndarray, high: np.ndarray) -> View:
    """Returns a clip; one of a clip is one clip."""
    view = reader.view(value)
    before = reader.operations[view.operation]
    if before.kind == "clamp" and all(each.size == 1 for each in (low, high, *before.settings.values())):
        first, last = before.settings["low"], before.settings["high"]
        view = View(before.inputs[0], view.shape)
        low, high = np.clip(first, low, high), np.clip(last, low, high)
    return reader.elementwise(view, "clamp", {"low": low, "high": high})


def _clamp(reader: Reader, step: Step, inputs: Values) -> Any:
    low, value, high = inputs
    return None if _data(low) or _data(high) else _clipped(reader, value, low, high)


def _neg(reader: Reader, step: Step, inputs: Values) -> Any:
    return _affine(reader, inputs[0], -1.0, 0.0)


def _round(reader: Reader, step: Step, inputs: Values) -> Any:
    return reader.elementwise(inputs[0], "round", {})


def _compared(reader: Reader, step: Step, inputs: Values) -> Any:
    left, right = inputs
    if _data(left) and _data(right):
        return None
    name = step.name if _data(left) else {"ge": "le", "le": "ge", "gt": "lt", "lt": "gt"}[step.name]
    value, threshold = (left, right) if _data(left) else (right, left)
    # x < t is not (x >= t), and x <= t is not (x > t).
    return Comparison(reader.view(value), threshold, name in ("gt", "le"), name in ("lt", "le"))


def _both(reader: Reader, step: Step, inputs: Values) -> Any:
    if not all(isinstance(each, Comparison) for each in inputs) or inputs[0].view != inputs[1].view:
        return None
    ends = {(each.strict, each.negated): each.threshold for each in inputs}
    if ends.keys() != {(False, False), (True, True)}:  # x >= low, and not x > high
        return None
    return Within(inputs[0].view, ends[False, False], ends[True, True])


def _where_within(reader: Reader, within: Within, outside: Any, inside: Any) -> Any:
    """Reads what gives a clip another gradient at its ends: the data in the range, and the clipped data outside."""
    if inside != within.view or not isinstance(outside, View):
        return None
    clipped = _clipped(reader, inside, within.low, within.high)
    return clipped if clipped == outside else None


def _select(reader: Reader, step: Step, inputs: Values) -> Any:
    which, *cases = inputs
    if isinstance(which, Within):
        return _where_within(reader, which, *cases)
    if not isinstance(which, Comparison) or len(cases) != 2 or any(_data(each) for each in cases):
        return None
    if any(np.unique(each).size != 1 for each in cases):
        return None
    low, high = (float(np.ravel(each)[0]) for each in (cases[::-1] if which.negated else cases))
    if low == 0 or low != -high:
        raise reader.refusal(f"chooses {low:g} or {high:g} by the data; one bit stands for -a and +a alone")
    settings = {"low": low, "high": high, "strict": which.strict}
    return reader.elementwise(which.view, "sign", {"threshold": which.threshold}, **settings)


PRIMITIVES: dict[str, Read] = {
    **dict.fromkeys("convert_element_type copy copy_p stop_gradient optimization_barrier".split(), _same),
    **dict.fromkeys("reshape squeeze expand_dims broadcast_in_dim".split(), _reshaped),
    **dict.fromkeys(("add", "add_any"), _add),
    **dict.fromkeys(("max", "min"), _extreme),
    **dict.fromkeys(("ge", "gt", "le", "lt"), _compared),
    **dict.fromkeys(("reduce_window_max", "reduce_window_sum"), read_windows),
    **dict.fromkeys(("reduce_max", "reduce_sum"), read_reduction),
    "and": _both,
    "clamp": _clamp,
    "conv_general_dilated": read_convolution,
    "div": _div,
    "dot_general": read_product,
    "mul": _mul,
    "neg": _neg,
    "pad": read_padding,
    "round": _round,
    "select_n": _select,
    "slice": read_slice,
    "sub": _sub,
}
