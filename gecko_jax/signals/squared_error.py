"""The squared error of a regression."""

from __future__ import annotations

import math

import numpy as np

from gecko_jax.signals.signal import Signal
from gecko_jax.types import Array


def sum_of_squares(outputs: Array, y: Array) -> np.ndarray:
    """Returns sum_k (f_k - y_k)^2 [..., n] of predictions f [..., n, *shape] and labels y [n, *shape].

    Predictions [..., n, 1] of one number y [n] are taken as [..., n].

    Args:
      outputs: of one model or of several, in the unit of y.
      y: what they predict.

    Raises:
      ValueError: other shapes, or NaN.

    >>> sum_of_squares([[1.0, 2.0], [1.0, 4.0]], [1.0, 1.0]).tolist()
    [[0.0, 1.0], [0.0, 9.0]]
    """
    outputs, y = np.asarray(outputs, np.float64), np.asarray(y, np.float64)
    if y.ndim and outputs.shape[outputs.ndim - y.ndim :] != y.shape and outputs.shape[-1:] == (1,):
        outputs = outputs[..., 0]
    if not y.ndim or outputs.ndim < y.ndim or outputs.shape[outputs.ndim - y.ndim :] != y.shape:
        raise ValueError(f"outputs have shape {outputs.shape} and y {y.shape}; expected one prediction for each of y.")
    if np.isnan(outputs).any() or np.isnan(y).any():
        raise ValueError("outputs or y hold NaN; a diverged model cannot be audited.")
    return ((outputs - y) ** 2).reshape(*outputs.shape[: outputs.ndim - y.ndim + 1], -1).sum(-1)


squared_error = Signal(
    "squared_error",
    sum_of_squares,
    larger="nonmembers",
    outputs="numbers",
    stands_for=("loss", "soft_loss", "phi"),
    bounds=(0.0, math.inf),
)
