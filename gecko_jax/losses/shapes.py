"""Checks that a model's outputs and the labels have the shape and dtype that a loss reads, before anything is computed.

Each check works on one example, and on tracers: only shapes and dtypes are read. What depends on values, such as the
range of class numbers, is checked by `Loss.check` on the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from gecko_jax.types import Array


def float_outputs(reader: str, outputs: Any, axes: tuple[str, ...]) -> Array:
    """Returns one example's outputs if they are one floating-point array with these axes.

    Args:
      reader: name of the loss or metric, for messages.
      outputs: what the model returned for one example.
      axes: names of the axes, such as ("classes",); "..." stands for any number of them.

    Raises:
      ValueError: a tuple or a mapping, another number of axes, integers.
    """
    expected = f"one array of outputs ({', '.join(axes)}) for each example"
    if not (hasattr(outputs, "shape") and hasattr(outputs, "dtype")):
        entries = f" of {len(outputs)} entries" if hasattr(outputs, "__len__") else ""
        exits = isinstance(outputs, Mapping) and "exits" in outputs
        hint = " For a network with several exits take losses.over_exits()." if exits else ""
        raise ValueError(
            f"{reader} reads {expected}; the model returns a {type(outputs).__name__}{entries}. Return that array "
            f"alone, wrap the module in one whose __call__ picks it out, or pass a types.Loss of your own.{hint}"
        )
    if outputs.ndim < len(axes) - 1 if "..." in axes else outputs.ndim != len(axes):
        way = "Reduce the other axes in the module (by a mean, by the last step, or flatten before the last Dense)"
        if outputs.ndim < len(axes):
            way = "A model with one output keeps its axis: outputs[:, None]" if outputs.ndim == 0 else "Add the axis"
        raise ValueError(
            f"{reader} reads {expected}; the model returns shape {tuple(outputs.shape)} for one example. {way}, or "
            "take a loss of such outputs."
        )
    if not jnp.issubdtype(outputs.dtype, jnp.floating):
        raise ValueError(
            f"{reader} reads floating-point outputs; the model returns dtype {outputs.dtype}. Return the outputs as "
            "they are before an arg-max or a comparison."
        )
    return outputs


def class_numbers(reader: str, y: Any, shape: tuple[int, ...] = ()) -> Array:
    """Returns one example's class numbers, if they are integers of this shape: () for one class, (t,) for t.

    Args:
      reader: name of the loss or metric, for messages.
      y: the example's labels.
      shape: expected shape.

    Raises:
      ValueError: a pytree of several arrays, an axis too many (one-hot rows, a column), real or Boolean numbers.
    """
    y = _one_array(reader, y)
    if jnp.shape(y) != shape:
        expected = f"{shape[0]} class numbers, one for each step," if shape else "one class number"
        raise ValueError(
            f"{reader} reads {expected} for each example; y has shape {jnp.shape(y)} for one example. Drop a column "
            "with y[:, 0], or turn one-hot rows into class numbers with y.argmax(-1)."
        )
    if not jnp.issubdtype(jnp.result_type(y), jnp.integer):
        raise ValueError(
            f"{reader} reads class numbers; y has dtype {jnp.result_type(y)}. Pass integers, y.astype(np.int32), "
            "or take losses.squared_error() if y holds real numbers."
        )
    return jnp.asarray(y)


def targets(reader: str, y: Any, outputs: Array) -> Array:
    """Returns one example's targets in the outputs' shape and dtype; one output (1,) may have a target without an axis.

    Args:
      reader: name of the loss or metric, for messages.
      y: the example's targets.
      outputs: the example's outputs, see `float_outputs`.

    Raises:
      ValueError: a pytree of several arrays, or another number of targets than of outputs.
    """
    y = jnp.asarray(_one_array(reader, y))
    if y.shape != outputs.shape and not (y.shape == () and outputs.shape == (1,)):
        raise ValueError(
            f"{reader} compares each output with a target; the model returns {tuple(outputs.shape)} outputs for one "
            f"example, and y has shape {y.shape}. A model of one number has one output, models.create(name, 1); of k "
            "numbers it has k outputs, and y has shape (n, k). For classes take losses.cross_entropy()."
        )
    return y.reshape(outputs.shape).astype(outputs.dtype)


def _one_array(reader: str, y: Any) -> Any:
    if y is None or isinstance(y, (dict, list, tuple)):
        raise ValueError(
            f"{reader} reads labels y that are one array; y is a {type(y).__name__}. Pass that array, or a types.Loss "
            "of your own that picks it out."
        )
    return y
