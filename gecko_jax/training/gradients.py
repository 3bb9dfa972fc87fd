"""The gradient of a model's loss as a `GradFn`, the only thing in which private and plain training differ.

A `GradFn` is (variables, batch, key) -> (gradients, StepMetrics). A private one returns clipped and noised gradients of
the same shape and is passed to `fit(gradients=...)` instead of this one. Two attributes are optional:

  loss   the `Loss` that it descends; `fit` takes the metric from it. Without it the GradFn reports a scalar metric.
  live   (variables, batch, key) -> a bool for each parameter, whether it is trained, read off the program. A step
         leaves the others as they are, to the bit.
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
from gecko_jax.types import Array, Batch, Loss, Model, StepMetrics, Variables

GradFn = Callable[[Variables, Batch, Array], tuple[Variables, StepMetrics]]


def batch_gradients(
    model: Model, loss: Loss, trainable: Sequence[str] | None = None, augment: Augment | None = None
) -> GradFn:
    """Builds the gradient of the mean loss over a batch's real rows; a row of weight 0 adds nothing, not even a NaN.

    Args:
      model: any model; it sees the whole batch at once, so BatchNorm is allowed (its statistics are over all rows,
        padding included: see `datasets.batches` for what padding holds).
      loss: a per-example loss, to which a model with a range penalty adds its own.
      trainable: regular expressions of the parameters that are trained, see `fit_ensemble`; the gradient of the others
        is 0 and is not computed.
      augment: a random change of each row in each step (`privacy.flip`, `fresh_masks`); see `privacy.augmented`.

    Returns:
      (variables, batch, key) -> (gradients in the tree of variables["params"], StepMetrics).

    Raises:
      ValueError: when called, for outputs without a row for each example, for outputs and labels that the loss does
        not read, for expressions of `trainable` that are found in no parameter's path, for a batch whose leaves have
        different lengths, and for weights other than 0 and 1. Weights that are traced, and so not known yet, give NaN.

    >>> import numpy as np
    >>> from gecko_jax import losses, models
    >>> model, x = models.create("mlp", 2, hidden=()), np.ones((3, 4), np.float32)
    >>> gradients = batch_gradients(model, losses.cross_entropy())
    >>> batch = Batch(x, np.array([0, 1, 1]), np.array([1.0, 1.0, 0.0]))
    >>> slopes, metrics = gradients(model.init(jax.random.key(0), x), batch, None)
    >>> slopes["logits"]["kernel"].shape, float(metrics.count)
    ((4, 2), 2.0)
    """
    metric = metric_of(loss)

    def mean_loss(variables, batch, key):
        """Returns (mean loss, StepMetrics)."""
        rows = row_count("batch", batch)
        if augment is not None:
            batch = _augmented(augment, batch, key, rows)
        real, valid = check_weights("batch.weight", batch.weight, rows)
        outputs, updates = model.apply(variables, batch.x, key=key, train=True)
        outputs = outputs_by_row(outputs, rows)
        # A selection on both sides of the loss, because a product would carry a padding row's NaN into the gradient.
        of_real = jax.tree.map(lambda leaf: at_real_rows(real, leaf), outputs)
        losses = jax.vmap(functools.partial(penalized_loss, loss))(of_real, batch)
        check_scalar(loss.name, losses.shape[1:])
        # In float32 at least: half precision cannot count beyond 256.
        losses = losses.astype(jnp.promote_types(losses.dtype, jnp.float32))
        count = jnp.sum(real.astype(jnp.float32))
        mean = valid * jnp.sum(jnp.where(real, losses, 0.0)) / jnp.maximum(count, 1.0)
        each = jax.vmap(metric.apply)(jax.lax.stop_gradient(without_penalty(outputs)), batch)
        each = each.astype(jnp.promote_types(each.dtype, jnp.float32))
        return mean, StepMetrics(mean, jnp.sum(at_real_rows(real, each), axis=0), count, updates)

    def gradients(variables, batch, key):
        params = variables["params"]
        keep = trainable_leaves(params, trainable)

        def objective(trained):
            return mean_loss({**variables, "params": with_leaves(trained, params, keep)}, batch, key)

        slopes, metrics = jax.grad(objective, has_aux=True)(select_leaves(params, keep))
        slopes = slopes if all(keep) else with_leaves(slopes, jax.tree.map(jnp.zeros_like, params), keep)
        if GROWTH in variables:  # a sparse network that grows where these gradients are large
            slopes, growth = masked_slopes(variables, slopes)
            metrics = metrics._replace(updates={**metrics.updates, GROWTH: growth})
        return slopes, metrics

    def live(variables, batch, key):
        """Returns whether each parameter is trained: named by `trainable` and with a gradient path to the loss."""
        params = variables["params"]
        named, reached = trainable_leaves(params, trainable), paths_of(mean_loss, variables, batch, key)
        keep = tuple(a and b for a, b in zip(named, reached, strict=True))
        check_trains(params, keep, trainable)
        return keep

    gradients.live = live
    gradients.loss = loss
    gradients.follows_growth = True
    gradients.plain = True  # without noise: the seed of such a run need not be secret
    return gradients


def _augmented(augment: Augment, batch: Batch, key: Any, rows: int) -> Batch:
    """Returns the batch after an augmentation, each row with draws of its own."""
    if key is None:
        raise ValueError("key=None: an augmentation draws at random; pass the step's key.")
    keys = jax.random.split(stream(key, "augment"), rows)
    return jax.vmap(functools.partial(augment_example, augment))(keys, batch)


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
