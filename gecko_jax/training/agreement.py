"""Checks that the arguments of `fit` agree: private gradients with their batches, outputs with labels."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import checks
from gecko_jax.losses.cross_entropy import check_classes
from gecko_jax.privacy.cipher_keys import key_shape
from gecko_jax.privacy.sampling import Sampling, check_sampling
from gecko_jax.surroundings import surroundings
from gecko_jax.trees import example_shapes, shapes
from gecko_jax.types import Array, Batch, Loss, Model, StepMetrics, Variables


def resolve_trainable(
    gradients: Any, trainable: tuple[str, ...] | None, sampling: Sampling | None, full_batches: int | None = None
) -> tuple[str, ...] | None:
    """Returns the expressions of the parameters that are trained, after checking private gradients against `fit`.

    Args:
      gradients: a GradFn, or None for the plain one; a private one carries its `settings`.
      trainable, sampling: of `fit_ensemble`.
      full_batches: steps of a run without a sampling, each on all members; None if there are smaller batches.

    Raises:
      ValueError: a Sampling that cannot be drawn; private gradients that were made for other parameters, or whose
        epsilon covers other batches, than the arguments of `fit`.
    """
    if sampling is not None:
        check_sampling(sampling)
    settings = getattr(gradients, "settings", None)
    if settings is None:
        return trainable
    if trainable is not None and settings.trainable != trainable:
        raise ValueError(
            f"trainable={trainable!r}, but the private gradients were made with trainable={settings.trainable!r}: they "
            "clip the norm of the parameters that they train, and add noise to these alone. Pass the same to both, or "
            "to private_gradients (private_training) alone."
        )
    if settings.noise_multiplier > 0 and settings.sampling is not None:
        private_sampling = settings.sampling
        # At rate 1 every example takes part in every step, with a sampling or without one.
        every_row = private_sampling.rate == 1 and private_sampling.cap >= private_sampling.n
        if sampling is None and full_batches is not None and every_row:
            sampling = private_sampling._replace(steps=full_batches)
        _check_covered(private_sampling, sampling)
    if sampling is not None:
        _check_divisor(settings.expected_batch_size, sampling)
    return settings.trainable


def _check_covered(private_sampling: Sampling, sampling: Sampling | None) -> None:
    """Raises ValueError unless the batches are those that epsilon was computed for, or a part of them."""
    if sampling is None:
        raise ValueError(
            f"sampling=None, but these private gradients were made for {private_sampling}: epsilon does not cover "
            "shuffled epochs of batch_size rows. Pass sampling=run.sampling, or all of **run.options."
        )
    same = sampling._replace(steps=private_sampling.steps, cap=private_sampling.cap) == private_sampling
    other_cap = sampling.kind != "poisson" and sampling.cap != private_sampling.cap
    if not same or other_cap or sampling.steps > private_sampling.steps:
        raise ValueError(
            f"sampling is {sampling}, but these private gradients were made for {private_sampling}: epsilon covers "
            "these batches, or fewer of them. Pass sampling=run.sampling, or make yours by private_training."
        )


def _check_divisor(expected: float, sampling: Sampling) -> None:
    """Raises ValueError unless private gradients divide by the expected size of a sampled batch."""
    mean = sampling.n / math.ceil(sampling.n / sampling.cap) if sampling.kind == "shuffled" else sampling.batch_size
    if not mean * (1 - 1e-6) <= expected <= sampling.batch_size * (1 + 1e-6):
        raise ValueError(
            f"expected_batch_size={expected:g} of the private gradients disagrees with "
            f"sampling.batch_size={sampling.batch_size:g}: every step would be {sampling.batch_size / expected:.3g} "
            "times as long as it should be. Pass the sampling's batch_size to private_gradients."
        )


def check_batch_size(gradients: Any, batch_size: int, member: np.ndarray) -> None:
    """Raises ValueError unless the batches of a run without a Sampling have `expected_batch_size` rows.

    Args:
      gradients: a GradFn, or None; only one with `settings`, a private one, is checked.
      batch_size: rows of a batch.
      member: bool [m, n].
    """
    settings = getattr(gradients, "settings", None)
    if settings is None:
        return
    rows = min(batch_size, int(member.sum(1).max()))
    expected = settings.expected_batch_size
    if abs(rows - expected) > 1e-6 * expected:
        raise ValueError(
            f"batch_size={batch_size} gives steps of {rows} rows, and the private gradients divide their sum by "
            f"expected_batch_size={expected:g}: every step would be {rows / expected:.3g} times as long as it should "
            f"be. Pass batch_size={expected:g}, or the run's own sampling (all of **run.options)."
        )


def are_rows_apart(gradients: Any) -> bool:
    """Returns whether rows of weight 0 may be added to a batch without a change: private gradients never mix rows.

    Their draws of a row must not depend on the number of rows either, which JAX's default generator guarantees.

    Args:
      gradients: a GradFn; a private one carries its `settings`.
    """
    is_partitionable: Any = jax.config.jax_threefry_partitionable  # pyright: ignore[reportAttributeAccessIssue]
    return hasattr(gradients, "settings") and bool(is_partitionable)


def loss_of(gradients: Any, loss: Loss | None) -> Loss | None:
    """Returns the loss of the gradients, or None if it is not known.

    Args:
      gradients: a GradFn, or None.
      loss: of `fit`, or None.

    Raises:
      ValueError: `loss` is not the loss of the gradients, and would be ignored.
    """
    known = getattr(gradients, "loss", None)
    if known is not None and loss is not None and loss != known:
        raise ValueError(
            f"loss={loss.name!r} is not the loss of the gradients, which descend {known.name!r}"
            f"{' with other settings' if loss.name == known.name else ''}: pass it where they are made "
            "(private_training, example_loss or batch_gradients), and leave it out here."
        )
    return known


def check_fits(
    model: Model,
    gradients: Any,
    variables: Variables,
    batch: Batch,
    data: Batch,
) -> None:
    """Raises ValueError unless inputs, outputs, labels and extras fit the model and the gradients.

    The gradients of `batch_gradients` and `private_gradients` are traced once for each set of shapes. What they refuse
    is therefore refused before anything is trained. A GradFn of your own may read outputs and labels of any shape.

    Args:
      model, gradients: see `fit_ensemble`.
      variables, batch: of one model and one step, as shapes.
      data: all rows, on the host.
    """
    outputs = jax.eval_shape(lambda v, rows: model.apply(v, rows)[0], variables, batch.x)
    logits = len(getattr(outputs, "shape", ())) == 2
    if hasattr(gradients, "live"):
        leaves, structure = jax.tree.flatten((variables, batch))
        leaf_shapes = tuple(shapes(leaves))
        metric = _trace(gradients, structure, leaf_shapes, surroundings()).metric
        if getattr(gradients, "loss", None) is None and metric.shape != ():
            raise ValueError(
                f"gradients report a metric of shape {metric.shape}; expected a scalar. For several numbers pass a "
                "types.Loss, whose metric says how they are combined, through privacy.example_loss."
            )
    loss = getattr(gradients, "loss", None)
    if loss is not None and loss.check:
        loss.check(example_shapes(outputs), data)
    elif loss is None and logits and not isinstance(data.y, (dict, list, tuple)):
        _check_labels(data.y, outputs.shape[-1])


@functools.lru_cache(maxsize=64)
def _trace(gradients: Any, structure: Any, shapes: tuple[Any, ...], around: Any) -> StepMetrics:
    """Returns the shapes of a step's metrics."""
    del around
    variables, batch = jax.tree.unflatten(structure, shapes)
    return jax.eval_shape(gradients, variables, batch, key_shape(gradients))[1]


def _check_labels(y: Array, classes: int) -> None:
    """Raises ValueError for labels that logits [rows, classes] cannot express, if the loss is not known."""
    if jnp.issubdtype(np.asarray(y).dtype, jnp.floating):  # NumPy does not take bfloat16 for a float
        checks.finite("data.y", y)
        if np.ndim(y) == 1 and classes != 1:
            raise ValueError(
                f"data.y holds real numbers, and the model has {classes} outputs; a regression model has one. For "
                "classes pass integers."
            )
        return
    check_classes(jax.ShapeDtypeStruct((classes,), np.float32), Batch(None, y, None))
