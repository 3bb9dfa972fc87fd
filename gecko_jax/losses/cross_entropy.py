"""Cross-entropy with the true class."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.losses.class_weights import checked_weights, weights_of
from gecko_jax.losses.example_metrics import accuracy
from gecko_jax.losses.shapes import class_numbers, float_outputs
from gecko_jax.types import Array, Batch, Loss


def label_cross_entropy(logits: Array, label: Array) -> Array:
    """Returns -log softmax(logits)[label]; NaN for a label that has no logit.

    Without the comparison -1 would count from the end and train the last class.

    Args:
      logits: [classes], or [..., classes] for several labels.
      label: an integer, or integers [...].

    Returns:
      [...], one value for each label.
    """
    if logits.ndim > 1:
        return jax.vmap(label_cross_entropy)(logits, label)
    return jax.nn.logsumexp(logits) - jnp.where(label < 0, jnp.nan, jnp.take(logits, label))


def check_classes(outputs: Any, data: Batch) -> None:
    """Raises ValueError if a class of `data.y` [n] has no logit among one example's outputs [classes]."""
    low, high = int(np.min(data.y)), int(np.max(data.y))
    if low < 0 or high >= outputs.shape[-1]:
        raise ValueError(f"data.y holds labels {low} to {high}; the model has logits for 0 to {outputs.shape[-1] - 1}.")


def cross_entropy(class_weights: Sequence[float] | None = None) -> Loss:
    """Builds w_y * (-log softmax(logits)[y]) for logits [classes] and one class number y.

    A batch's loss is the mean over its rows, also with weights: it is not divided by the sum of the batch's weights,
    which would couple the examples.

    Args:
      class_weights: w, one for each class, such as `balanced_class_weights(y, num_classes)`. None: all are 1.

    Raises:
      ValueError: weights that are not finite or below 0; when traced, another number of weights than of logits.

    >>> round(float(cross_entropy().apply(jnp.zeros(2), Batch(None, 1, None))), 4)  # log 2
    0.6931
    >>> round(float(cross_entropy((1.0, 3.0)).apply(jnp.zeros(2), Batch(None, 1, None))), 4)  # 3 log 2
    2.0794
    """
    return _cross_entropy(checked_weights(class_weights))


@functools.cache
def _cross_entropy(class_weights: tuple[float, ...] | None) -> Loss:

    def apply(logits, example):
        logits = float_outputs("cross_entropy", logits, ("classes",))
        label = class_numbers("cross_entropy", example.y)
        return weights_of(class_weights, label_cross_entropy(logits, label), label, logits.shape[-1])

    return Loss("cross_entropy", apply, accuracy(), check=check_classes)
