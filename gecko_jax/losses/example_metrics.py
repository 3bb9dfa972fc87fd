"""Metrics of one example, for a `Loss` to name: what training and evaluation report beside the loss.

The mean over examples is what scikit-learn gives for the same outputs; `Metric.summary` turns the mean into the figure.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.losses.shapes import class_numbers, float_outputs, targets
from gecko_jax.types import Array, Loss, Metric

MIN_RELATIVE_VARIANCE = 1e-5  # of the mean of y^2, below which float32 leaves less than two digits of the variance


def metric_of(loss: Loss) -> Metric:
    """Returns the loss's metric, or the loss itself as a metric if it does not name one.

    Args:
      loss: a per-example loss.

    >>> metric_of(Loss("my_loss", lambda outputs, example: 0.0)).name
    'loss'
    """
    return loss.metric or _mean_loss(loss)


@functools.cache
def _mean_loss(loss: Loss) -> Metric:
    return Metric("loss", loss.apply)


@functools.cache
def accuracy() -> Metric:
    """Builds the share of examples whose largest output (the first, on a tie) is the class.

    Outputs are [classes] and y an integer; of outputs [t, classes] and y [t] it is the share of the t labels.

    >>> from gecko_jax.types import Batch
    >>> float(accuracy().apply(jnp.array([0.5, 2.0]), Batch(None, 1, None)))
    1.0
    """

    def apply(outputs, example):
        logits = float_outputs("accuracy", outputs, ("...", "classes"))
        y = class_numbers("accuracy", example.y, logits.shape[:-1])
        return jnp.mean(is_top1(logits, y).astype(jnp.float32))

    return Metric("accuracy", apply)


@functools.cache
def macro_f1() -> Metric:
    """Builds the macro-F1 of class numbers: the mean over classes of 2 TP / (2 TP + FP + FN), as in scikit-learn.

    Take it for data in which some classes are rare: `losses.cross_entropy()._replace(metric=losses.macro_f1())`. A
    class that is neither a label nor a prediction does not count. An example with a NaN among its logits is predicted
    to be no class, which its own class misses.

    >>> from gecko_jax.types import Batch
    >>> pieces = [macro_f1().apply(jnp.array(logits), Batch(None, 0, None)) for logits in ([1.0, 0.0], [0.0, 1.0])]
    >>> round(macro_f1().summary(sum(pieces) / 2), 4)  # F1 of 2/3 and 0
    0.3333
    """

    def apply(outputs, example):
        logits = float_outputs("macro_f1", outputs, ("classes",))
        y = class_numbers("macro_f1", example.y)
        classes = jnp.arange(logits.shape[0])
        predicted = jax.vmap(lambda label: is_top1(logits, label))(classes)
        predicted = jnp.append(predicted, ~jnp.any(predicted))  # a last column for no class
        return ((classes == y)[:, None] & predicted[None]).astype(jnp.float32).ravel()

    def summary(means):
        counts = np.asarray(means, np.float64)
        counts = counts.reshape(math.isqrt(counts.size), -1)  # c rows of c + 1
        seen = counts[:, :-1].sum(0) + counts.sum(1)
        return float(np.mean(2 * np.diagonal(counts)[seen > 0] / seen[seen > 0])) if seen.any() else math.nan

    return Metric("macro_f1", apply, summary)


@functools.cache
def label_accuracy() -> Metric:
    """Builds the share of 0/1 labels whose output has the right sign: outputs [k], y [k] or a number for one output.

    >>> from gecko_jax.types import Batch
    >>> float(label_accuracy().apply(jnp.array([2.0, 3.0]), Batch(None, jnp.array([1, 0]), None)))
    0.5
    """

    def apply(outputs, example):
        outputs = float_outputs("accuracy", outputs, ("labels",))
        return jnp.mean(((outputs > 0) == (targets("accuracy", example.y, outputs) > 0)).astype(jnp.float32))

    return Metric("accuracy", apply)


@functools.cache
def rmse() -> Metric:
    """Builds the root mean squared error of numbers: outputs [k] and y [k], or y without an axis for one output.

    It is the root of the mean over examples, taken for each output and then averaged over the k outputs, as in
    scikit-learn's `root_mean_squared_error`.

    >>> from gecko_jax.types import Batch
    >>> float(rmse().summary(rmse().apply(jnp.array([5.0]), Batch(None, 2.0, None))))
    3.0
    """

    def apply(outputs, example):
        return jnp.square(_residuals("rmse", outputs, example))

    return Metric("rmse", apply, lambda means: float(np.mean(np.sqrt(means))))


@functools.cache
def r2() -> Metric:
    """Builds the coefficient of determination, 1 - mean (f - y)^2 / var y, averaged over k outputs.

    The variance of y is the mean of y^2 minus the squared mean of y, which cancel in float32. R2 is therefore NaN if
    the mean of y is more than 300 times its standard deviation: subtract the mean from such targets first. It is NaN
    for a constant target too.

    >>> from gecko_jax.types import Batch
    >>> pieces = [r2().apply(jnp.array([f]), Batch(None, y, None)) for f, y in ((1.0, 1.0), (2.0, 3.0))]
    >>> float(r2().summary(sum(pieces) / 2))
    0.5
    """

    def apply(outputs, example):
        error = _residuals("r2", outputs, example)
        y = targets("r2", example.y, outputs)
        return jnp.stack([jnp.square(error), y, jnp.square(y)])

    def summary(means):
        error, mean, square = np.asarray(means, np.float64)
        variance = square - mean**2
        known = variance > MIN_RELATIVE_VARIANCE * square
        return float(np.mean(np.where(known, 1 - error / np.where(known, variance, 1), np.nan)))

    return Metric("r2", apply, summary)


def _residuals(reader: str, outputs: Array, example) -> Array:
    outputs = float_outputs(reader, outputs, ("outputs",))
    outputs = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
    return outputs - targets(reader, example.y, outputs)


def is_top1(logits: Array, label: Array) -> Array:
    """Returns argmax(logits, -1) == label, by comparisons, because XLA's CPU computes an arg-max one number at a time.

    Args:
      logits: [..., classes]; a NaN among them is never largest, and nothing is largest beside it.
      label: [...] integers; a label that is not a class is never the largest.

    Returns:
      bool [...].

    >>> is_top1(jnp.array([[1.0, 1.0], [1.0, 1.0]]), jnp.array([0, 1])).tolist()
    [True, False]
    """
    column = jax.lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1)
    label = label.astype(jnp.int32)[..., None]
    label_logit = jnp.take_along_axis(logits, jnp.clip(label, 0, logits.shape[-1] - 1), -1)
    behind = (logits < label_logit) | ((logits == label_logit) & (column >= label))
    return jnp.all(behind, -1) & (label[..., 0] >= 0) & (label[..., 0] < logits.shape[-1])
