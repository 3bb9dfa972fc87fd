"""Cross-entropy with the true class."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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


@functools.cache
def cross_entropy() -> Loss:
    """Builds -log softmax(logits)[y] for logits [classes] and one class number y.

    >>> round(float(cross_entropy().apply(jnp.zeros(2), Batch(None, 1, None))), 4)  # log 2
    0.6931
    """

    def apply(logits, example):
        logits = float_outputs("cross_entropy", logits, ("classes",))
        return label_cross_entropy(logits, class_numbers("cross_entropy", example.y))

    return Loss("cross_entropy", apply, accuracy(), check=check_classes)
