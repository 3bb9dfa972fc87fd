"""Checks of what probes take and read: records, labels, keys, and the outputs of a predict function."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np

from gecko_jax import checks, keys
from gecko_jax.probes.layouts import image_layout
from gecko_jax.trees import row_blocks
from gecko_jax.types import Array

BATCH = 1024  # records in one call of a predict function


def check_inputs(x: Array) -> np.ndarray:
    """Returns x [n, ...] as a NumPy array of its own float type; raises ValueError unless n >= 1 and all are finite.

    >>> check_inputs([[1.0, 2.0]]).shape
    (1, 2)
    """
    x = np.asarray(x)
    if x.ndim < 2 or x.dtype.kind != "f":
        raise ValueError(
            f"x has shape {x.shape} and dtype {x.dtype}; expected floats (records, ...), as the model takes them: "
            "x.astype('float32')."
        )
    return checks.finite("x", checks.not_empty("x", x))


def check_images(x: Array, layout: str | None = None) -> tuple[np.ndarray, str]:
    """Returns images [n, ., ., .] as `check_inputs` does, and their layout as `layouts.image_layout` does.

    >>> check_images(np.zeros((2, 8, 8, 1)))[1]
    'channels_last'
    """
    if np.ndim(x) != 4:
        raise ValueError(f"x has shape {np.shape(x)}; expected images (records, height, width, channels).")
    x = check_inputs(x)
    return x, image_layout(x.shape, layout)


def check_scale(scale: float | Array, x: np.ndarray) -> np.ndarray:
    """Returns a noise's scale as float64, one or one per feature; raises ValueError unless some is above 0.

    >>> check_scale([0.0, 0.5], np.zeros((9, 2))).tolist()
    [0.0, 0.5]
    """
    scale = np.asarray(scale, np.float64)
    if scale.ndim == 0:
        return np.asarray(checks.positive("scale", float(scale)))
    checks.finite("scale", checks.shape("scale", scale, x.shape[1:]))
    if scale.min() < 0 or not scale.max() > 0:
        raise ValueError(f"scale runs from {scale.min()} to {scale.max()}; expected at least 0, and above 0 somewhere.")
    return scale


def check_labels(y: Array, records: int, classes: int) -> np.ndarray:
    """Returns y as int64 [records] in 0..classes-1.

    Raises:
      ValueError: another shape or type, or labels out of range.

    >>> check_labels([0, 2], 2, 3).tolist()
    [0, 2]
    """
    y = checks.shape("y", np.asarray(checks.unmasked("y", y)), (records,))
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(
            f"y has dtype {y.dtype}; expected class numbers, not one-hot rows or floats. If its values are names, say "
            "which class each column of the outputs is: classes= (scikit-learn's model.classes_). If they are numbers "
            "that the model predicts, say outputs='numbers'."
        )
    if y.min() < 0 or y.max() >= classes:
        raise ValueError(
            f"y runs from {y.min()} to {y.max()}; expected 0..{classes - 1}. If column j of the outputs is not class "
            "j, say which class each is: classes= (scikit-learn's model.classes_)."
        )
    return y.astype(np.int64)


def check_classes(y: Array, records: int, classes: int | None) -> np.ndarray:
    """Returns y as int64 [records] in 0..classes-1, of at least 0 if `classes` is None; see `check_labels`.

    >>> check_classes([7], 1, None).tolist()
    [7]
    """
    limit = np.iinfo(np.int32).max if classes is None else classes
    return check_labels(y, records, limit)


def generator(key: int | jax.Array, *words: str) -> np.random.Generator:
    """Returns a NumPy generator from a seed or a JAX key; see `keys.generator`."""
    if not isinstance(key, (int, np.integer)):
        key = int(jax.random.bits(keys.stream(key, "audit", "probe"), (), "uint32"))
    return keys.generator(key, "audit", "probe", *words)


def one_array(outputs: Array) -> np.ndarray:
    """Returns a predict function's output on the host; raises ValueError for a model's own (logits, updates)."""
    if isinstance(outputs, (tuple, list, dict)):
        raise ValueError(f"predict returned a {type(outputs).__name__}; expected one array, lambda x: apply(...)[0].")
    return np.asarray(outputs)


def as_labels(outputs: Array, records: int) -> tuple[np.ndarray, int | None]:
    """Returns labels read off a predict function's output.

    Args:
      outputs: logits or probabilities [records, classes], or labels, integers [records].
      records: how many it was asked about.

    Returns:
      (labels int64 [records], the first of the largest; number of classes, None if `outputs` are labels).

    Raises:
      ValueError: NaN, another shape, or floats [records].

    >>> as_labels(np.array([[0.2, 0.8]]), 1)[0].tolist()
    [1]
    """
    outputs = one_array(outputs)
    if outputs.shape == (records,) and outputs.dtype.kind in "iu":
        return outputs.astype(np.int64), None
    if outputs.ndim != 2 or len(outputs) != records or outputs.shape[1] < 2:
        raise ValueError(
            f"output of predict has shape {outputs.shape} and dtype {outputs.dtype} for {records} records; expected "
            "(records, classes) with two classes or more, or integer labels (records,)."
        )
    if np.isnan(outputs).any():
        raise ValueError("outputs of predict hold NaN; a diverged model cannot be probed.")
    return outputs.argmax(-1).astype(np.int64), outputs.shape[1]


def labels_of(predict: Callable[[Array], Array], x: np.ndarray, batch_size: int) -> tuple[np.ndarray, int | None]:
    """Returns `as_labels` of all records x [n, ...], by calls of at most `batch_size`."""
    parts = [as_labels(predict(x[rows]), len(x[rows])) for rows in row_blocks(len(x), batch_size)]
    return np.concatenate([labels for labels, _ in parts]), parts[0][1]
