"""Gradients of an objective of a whole batch: what couples the rows of a batch, or reads more than outputs and labels.

    objective   (variables, batch, real bool [b], key) -> (value, a scalar; outputs [b, ...]; updates)

`batch_gradients` is the case whose value is the mean of a per-example loss. An objective of your own can mix rows, take
gradients with respect to inputs, compare two halves of the batch or read a collection of the variables, such as one
that a schedule sets. The rest of a step (padding, metrics, frozen parameters) is the same for all.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gecko_jax.keys import stream
from gecko_jax.losses import metric_of
from gecko_jax.losses.penalized import penalized_loss, without_penalty
from gecko_jax.models.dynamic_sparse import masked_slopes
from gecko_jax.models.removed_weights import GROWTH
from gecko_jax.privacy.augmentation import Augment, augment_example
from gecko_jax.privacy.per_example.paths import check_trains, paths_of
from gecko_jax.privacy.per_example.weights import check_weights
from gecko_jax.trees import outputs_by_row, row_count, select_leaves, trainable_leaves, with_leaves
from gecko_jax.types import Array, Batch, Loss, StepMetrics, Variables

GradFn = Callable[[Variables, Batch, Array], tuple[Variables, StepMetrics]]
Objective = Callable[[Variables, Batch, Array, Array], tuple[Array, Any, Variables]]


def objective_gradients(
    objective: Objective, loss: Loss, trainable: Sequence[str] | None = None, augment: Augment | None = None
) -> GradFn:
    """Builds the gradient of an objective of a whole batch, to pass as `fit(gradients=...)`.

    Fits share a compiled program if they get the same object: build it once for the same settings (functools.cache).

    Args:
      objective: (variables, batch, real, key) -> (value, outputs, updates). `real` is bool [b], False for padding,
        whose rows must not count: see `mean_over` and `mean_loss`. `outputs` [b, ...] are what the metric reads, and
        `updates` the collections that change without a gradient, as a model in training returns them.
      loss: its metric is reported; `loss.reads` names what `fit(extra=...)` must hold, and `loss.check` judges labels.
      trainable: see `fit_ensemble`.
      augment: a random change of each row in each step, before the objective sees it; see `batch_gradients`.

    Returns:
      A GradFn without noise: (variables, batch, key) -> (gradients, StepMetrics).

    Raises:
      ValueError: when called, for outputs without a row for each example, or a value that is not a scalar.

    >>> import numpy as np
    >>> from gecko_jax import losses, models
    >>> model, x = models.create("mlp", 2, hidden=()), np.ones((3, 4), np.float32)
    >>> def worst(variables, batch, real, key):
    ...     outputs, updates = model.apply(variables, batch.x, key=key, train=True)
    ...     each = jax.vmap(losses.cross_entropy().apply)(outputs, batch)
    ...     return jnp.max(jnp.where(real, each, 0.0)), outputs, updates
    >>> gradients = objective_gradients(worst, losses.cross_entropy())
    >>> batch = Batch(x, np.array([0, 1, 1]), None)
    >>> gradients(model.init(jax.random.key(0), x), batch, None)[0]["logits"]["kernel"].shape
    (4, 2)
    """
    metric = metric_of(loss)

    def value_of(variables, batch, key):
        """Returns (value, StepMetrics)."""
        rows = row_count("batch", batch)
        if augment is not None:
            batch = _augmented(augment, batch, key, rows)
        real, valid = check_weights("batch.weight", batch.weight, rows)
        value, outputs, updates = objective(variables, batch, real, key)
        if (shape := jnp.shape(value)) != ():
            raise ValueError(
                f"the objective of {loss.name!r} gave an array of shape {shape} for a batch; it must give a scalar. "
                "Take training.mean_over(real, values)."
            )
        value = valid * value
        each = jax.vmap(metric.apply)(jax.lax.stop_gradient(without_penalty(outputs_by_row(outputs, rows))), batch)
        each = each.astype(jnp.promote_types(each.dtype, jnp.float32))
        count = jnp.sum(real.astype(jnp.float32))
        return value, StepMetrics(value, jnp.sum(at_real_rows(real, each), axis=0), count, updates)

    def gradients(variables, batch, key):
        params = variables["params"]
        keep = trainable_leaves(params, trainable)

        def of_trained(trained):
            return value_of({**variables, "params": with_leaves(trained, params, keep)}, batch, key)

        slopes, metrics = jax.grad(of_trained, has_aux=True)(select_leaves(params, keep))
        slopes = slopes if all(keep) else with_leaves(slopes, jax.tree.map(jnp.zeros_like, params), keep)
        if GROWTH in variables:  # a sparse network that grows where these gradients are large
            slopes, growth = masked_slopes(variables, slopes)
            metrics = metrics._replace(updates={**metrics.updates, GROWTH: growth})
        return slopes, metrics

    def live(variables, batch, key):
        """Returns whether each parameter is trained: named by `trainable` and with a gradient path to the value."""
        params = variables["params"]
        named, reached = trainable_leaves(params, trainable), paths_of(value_of, variables, batch, key)
        keep = tuple(a and b for a, b in zip(named, reached, strict=True))
        check_trains(params, keep, trainable)
        return keep

    gradients.live = live
    gradients.loss = loss
    gradients.follows_growth = True
    gradients.plain = True  # without noise: the seed of such a run need not be secret
    return gradients


def mean_loss(loss: Loss, outputs: Any, batch: Batch, real: Array) -> Array:
    """Returns the mean of a per-example loss over the real rows, with a model's own penalty if it has one.

    Args:
      loss: a per-example loss.
      outputs: [b, ...], as the model returned them in training.
      batch: the rows.
      real: bool [b]; a row that is not real adds nothing, not even a NaN among its outputs. The inputs of such a row
        must be finite, because a gradient multiplies them by 0.

    >>> from gecko_jax import losses
    >>> batch = Batch(jnp.zeros((2, 1)), jnp.array([0, 1]), None)
    >>> round(float(mean_loss(losses.cross_entropy(), jnp.zeros((2, 2)), batch, jnp.array([True, False]))), 4)
    0.6931
    """
    # A selection on both sides of the loss, because a product would carry a padding row's NaN into the gradient.
    of_real = jax.tree.map(lambda leaf: at_real_rows(real, leaf), outputs_by_row(outputs, len(real)))
    losses = jax.vmap(functools.partial(penalized_loss, loss))(of_real, batch)
    check_scalar(loss.name, losses.shape[1:])
    return mean_over(real, losses)


def mean_over(real: Array, values: Array) -> Array:
    """Returns the mean of values over the real rows; 0 without a real row.

    Args:
      real: bool [b].
      values: [b].

    >>> float(mean_over(jnp.array([True, False]), jnp.array([2.0, jnp.nan])))
    2.0
    """
    # In float32 at least: half precision cannot count beyond 256.
    values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    return jnp.sum(jnp.where(real, values, 0.0)) / jnp.maximum(jnp.sum(real.astype(jnp.float32)), 1.0)


def at_real_rows(real: Array, leaf: Array) -> Array:
    """Returns the leaf [rows, ...] with zeros in the rows that are not real."""
    return jnp.where(real.reshape(-1, *(1,) * (leaf.ndim - 1)), leaf, jnp.zeros_like(leaf))


def check_scalar(name: str, shape: tuple[int, ...]) -> None:
    """Raises ValueError unless a loss of this name gave one number for one example."""
    if shape != ():
        raise ValueError(
            f"loss {name!r} gave an array of shape {shape} for one example; it must give a scalar. Take the mean or "
            "the sum over its other axes."
        )


def _augmented(augment: Augment, batch: Batch, key: Any, rows: int) -> Batch:
    """Returns the batch after an augmentation, each row with draws of its own."""
    if key is None:
        raise ValueError("key=None: an augmentation draws at random; pass the step's key.")
    keys = jax.random.split(stream(key, "augment"), rows)
    return jax.vmap(functools.partial(augment_example, augment))(keys, batch)
