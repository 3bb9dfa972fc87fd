"""From a model and a per-example loss to a `GradFn`: the only place where two trainings differ.

A `GradFn` is (variables, batch, key) -> (gradients, StepMetrics). A private one returns clipped and noised gradients of
the same shape and is passed to `fit(gradients=...)` in this one's stead.

Its attribute `loss`, if it has one, is the `Loss` that it descends: `fit` takes the metric from it. A GradFn without
one reports a scalar metric of its own.

One that knows which parameters it moves says so by an attribute `live`: (variables, batch, key) -> a bool for each of
their leaves, read off the program. A step leaves the others as they are, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from gecko_jax.losses import metric_of
from gecko_jax.privacy.per_example.paths import check_trains, paths_of
from gecko_jax.privacy.per_example.weights import check_weights
from gecko_jax.trees import outputs_by_row, row_count, select_leaves, trainable_leaves, with_leaves
from gecko_jax.types import Array, Batch, Loss, Model, StepMetrics, Variables

GradFn = Callable[[Variables, Batch, Array], tuple[Variables, StepMetrics]]


def batch_gradients(model: Model, loss: Loss, trainable: Sequence[str] | None = None) -> GradFn:
    """The gradient of the mean loss over a batch's real rows; a loss at a row of weight 0 adds nothing, not even a NaN.

    Args:
      model: any model; it sees the whole batch at once, so BatchNorm is allowed (its statistics are over all rows,
        padding included: see `datasets.batches` for what stands there).
      loss: a per-example loss.
      trainable: regular expressions of the parameters that are trained, see `fit_ensemble`; the gradient of the others
        is 0 and is not computed.

    Raises:
      ValueError: when called, for outputs without a row for each example, for outputs and labels that the loss does
        not read, for expressions of `trainable` that are found in no parameter's path, for a batch whose leaves have
        different lengths, and for weights other than 0 and 1. Weights that are traced, and so not known yet, give NaN.
    """
    metric = metric_of(loss)

    def mean_loss(variables, batch, key):
        """(mean loss, StepMetrics)."""
        rows = row_count("batch", batch)
        real, valid = check_weights("batch.weight", batch.weight, rows)
        outputs, updates = model.apply(variables, batch.x, key=key, train=True)
        outputs = outputs_by_row(outputs, rows)
        # where, not a product, and on both sides of the loss: a padding row's NaN reaches neither sum nor gradient.
        losses = jax.vmap(loss.apply)(jax.tree.map(lambda leaf: at_real_rows(real, leaf), outputs), batch)
        check_scalar(loss.name, losses.shape[1:])
        # In float32 at least: half precision cannot count beyond 256.
        losses = losses.astype(jnp.promote_types(losses.dtype, jnp.float32))
        count = jnp.sum(real.astype(jnp.float32))
        mean = valid * jnp.sum(jnp.where(real, losses, 0.0)) / jnp.maximum(count, 1.0)
        each = jax.vmap(metric.apply)(jax.lax.stop_gradient(outputs), batch)
        each = each.astype(jnp.promote_types(each.dtype, jnp.float32))
        return mean, StepMetrics(mean, jnp.sum(at_real_rows(real, each), axis=0), count, updates)

    def gradients(variables, batch, key):
        params = variables["params"]
        keep = trainable_leaves(params, trainable)

        def objective(trained):
            return mean_loss({**variables, "params": with_leaves(trained, params, keep)}, batch, key)

        found, metrics = jax.grad(objective, has_aux=True)(select_leaves(params, keep))
        return (found if all(keep) else with_leaves(found, jax.tree.map(jnp.zeros_like, params), keep)), metrics

    def live(variables, batch, key):
        """Whether each parameter is trained: named by `trainable` and with a gradient path to the loss."""
        params = variables["params"]
        named, reached = trainable_leaves(params, trainable), paths_of(mean_loss, variables, batch, key)
        keep = tuple(a and b for a, b in zip(named, reached, strict=True))
        check_trains(params, keep, trainable)
        return keep

    gradients.live = live
    gradients.loss = loss
    gradients.plain = True  # without noise: a run of it may have a seed that anyone knows
    return gradients


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
