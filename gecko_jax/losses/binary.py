"""Cross-entropy of yes-or-no labels: one, or several that do not exclude each other."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.losses.example_metrics import label_accuracy
from gecko_jax.losses.shapes import float_outputs, targets
from gecko_jax.types import Batch, Loss


@functools.cache
def binary_cross_entropy() -> Loss:
    """Builds mean_k -log p(y_k) with p(1) = sigmoid(f_k), for outputs f [k] and labels y [k] of 0 and 1.

    One output: f [1], and y a number without an axis. Several labels (multi-label classification): k outputs, and y
    [k]. The mean over labels is that of `torch.nn.BCEWithLogitsLoss`.

    >>> loss = binary_cross_entropy()
    >>> round(float(loss.apply(jnp.array([0.0]), Batch(None, 1, None))), 4)  # log 2
    0.6931
    >>> round(float(loss.apply(jnp.array([50.0, -50.0]), Batch(None, jnp.array([1, 0]), None))), 4)
    0.0
    """

    def apply(outputs, example):
        outputs = float_outputs("binary_cross_entropy", outputs, ("labels",))
        y = targets("binary_cross_entropy", example.y, outputs)
        return jnp.mean(y * jax.nn.softplus(-outputs) + (1 - y) * jax.nn.softplus(outputs))

    return Loss("binary_cross_entropy", apply, label_accuracy(), check=_check_labels)


def _check_labels(outputs: Any, data: Batch) -> None:
    """Raises ValueError unless every label is 0 or 1."""
    y = np.asarray(data.y)
    wrong = np.argwhere(~((y == 0) | (y == 1)))
    if len(wrong):
        index = tuple(int(i) for i in wrong[0])
        raise ValueError(
            f"data.y holds {len(wrong)} labels that are not 0 or 1, the first {y[index]} at index {index}. Turn labels "
            "of -1 and 1 into (y + 1) / 2; for classes 0, 1, 2, ... take losses.cross_entropy()."
        )
