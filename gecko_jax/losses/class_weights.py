"""Weights of classes, for data in which some classes are rare."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from gecko_jax import checks
from gecko_jax.types import Array


def balanced_class_weights(y: Array, num_classes: int) -> tuple[float, ...]:
    """Returns n / (classes * rows of the class) for each class, as scikit-learn's "balanced" weights.

    The mean weight of the rows is 1, so that learning rate and other terms of a loss keep their scale. The weights are
    a statistic of the labels: a private run's epsilon does not cover them. Take public counts there.

    Args:
      y: [n] class numbers, of the rows that are trained on.
      num_classes: how many classes there are.

    Raises:
      ValueError: labels that are not integers in 0..num_classes-1, or a class without a row.

    >>> balanced_class_weights(np.array([0, 0, 0, 1]), 2)
    (0.6666666666666666, 2.0)
    """
    y = np.asarray(checks.unmasked("y", y))
    checks.shape("y", y, (None,))
    checks.not_empty("y", y)
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"y has dtype {y.dtype}; expected integers. Pass class numbers, such as y.astype(np.int32).")
    checks.integer("num_classes", num_classes, 1)
    for name, value in (("y.min()", int(y.min())), ("y.max()", int(y.max()))):
        checks.in_range(name, value, 0, num_classes - 1)
    counts = np.bincount(y, minlength=num_classes)
    if absent := np.flatnonzero(counts == 0).tolist():
        raise ValueError(
            f"y has no row of class {checks.listed(absent)}, whose weight would be infinite. Drop these classes, or "
            "pass class_weights of your own."
        )
    return tuple((len(y) / (num_classes * counts)).tolist())


def checked_weights(class_weights: Sequence[float] | None) -> tuple[float, ...] | None:
    """Returns the weights as a tuple of floats; None for None.

    Raises:
      ValueError: weights that are not finite or below 0, or that are all 0.
    """
    if class_weights is None:
        return None
    weights = np.asarray(checks.finite("class_weights", class_weights), np.float64)
    checks.shape("class_weights", weights, (None,))
    if (weights < 0).any() or not weights.any():
        raise ValueError(f"class_weights={tuple(weights.tolist())} must be at least 0 each, and one of them above 0.")
    return tuple(weights.tolist())


def weights_of(class_weights: tuple[float, ...] | None, losses: Array, label: Array, classes: int) -> Array:
    """Returns losses times the weight of their label's class.

    Args:
      class_weights: of `checked_weights`; None: all are 1.
      losses, label: [...], those of one example.
      classes: number of logits.

    Raises:
      ValueError: another number of weights than of logits.
    """
    if class_weights is None:
        return losses
    if len(class_weights) != classes:
        raise ValueError(
            f"class_weights has {len(class_weights)} entries and the model has {classes} logits; expected one weight "
            "for each class."
        )
    return losses * jnp.take(jnp.asarray(class_weights, losses.dtype), label)
