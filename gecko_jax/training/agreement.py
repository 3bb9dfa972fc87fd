"""Whether what `fit` is told agrees with itself: private gradients with their batches, outputs with labels."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import checks
from gecko_jax.privacy.sampling import Sampling, check_sampling
from gecko_jax.surroundings import surroundings
from gecko_jax.types import Array, Batch, Examples, Model, Variables


def agreed(
    gradients: Any, trainable: tuple[str, ...] | None, sampling: Sampling | None, full_batches: int | None = None
) -> tuple[str, ...] | None:
    """What is trained, by `fit`'s argument or by the gradients' own.

    Args:
      gradients: a GradFn, or None for the plain one; a private one carries its `settings`.
      trainable, sampling: of `fit_ensemble`.
      full_batches: steps of a run without a sampling, each on all members; None if there are smaller batches.

    Raises:
      ValueError: a Sampling that `draw` could not keep to; private gradients that were made for other parameters, or
        priced for other batches, than `fit` is told.
    """
    if sampling is not None:
        check_sampling(sampling)
    settings = getattr(gradients, "settings", None)
    if settings is None:
        return trainable
    if trainable is not None and settings.trainable != trainable:
        raise ValueError(
            f"trainable={trainable!r}, but the private gradients were made with trainable={settings.trainable!r}: the "
            "norm that is clipped and the noise are those of the parameters that they train. Pass the same to both, or "
            "to private_gradients (private_training) alone."
        )
    if settings.noise_multiplier > 0 and settings.sampling is not None:
        priced = settings.sampling
        if sampling is None and full_batches is not None and priced.rate == 1 and priced.cap >= priced.n:
            sampling = priced._replace(steps=full_batches)  # all take part in every step, however batches are drawn
        _check_priced(priced, sampling)
    if sampling is not None:
        _check_divisor(settings.expected_batch_size, sampling)
    return settings.trainable


def _check_priced(priced: Sampling, sampling: Sampling | None) -> None:
    """Raises ValueError unless the batches are those that epsilon was computed for, or fewer of them."""
    if sampling is None:
        raise ValueError(
            f"sampling=None, but these private gradients were priced for {priced}: shuffled epochs of batch_size rows "
            "are not what epsilon covers. Pass sampling=run.sampling, or all of **run.options."
        )
    same = sampling._replace(steps=priced.steps, cap=priced.cap) == priced
    if not same or sampling.steps > priced.steps or (sampling.kind != "poisson" and sampling.cap != priced.cap):
        raise ValueError(
            f"sampling is {sampling}, but these private gradients were priced for {priced}: epsilon covers these "
            "batches, or fewer of them. Pass sampling=run.sampling, or make a run of these with private_training."
        )


def _check_divisor(expected: float, sampling: Sampling) -> None:
    mean = sampling.n / math.ceil(sampling.n / sampling.cap) if sampling.kind == "shuffled" else sampling.batch_size
    if not mean * (1 - 1e-6) <= expected <= sampling.batch_size * (1 + 1e-6):
        raise ValueError(
            f"expected_batch_size={expected:g} of the private gradients disagrees with "
            f"sampling.batch_size={sampling.batch_size:g}: every step would be {sampling.batch_size / expected:.3g} "
            "times as long as it should be. Pass the sampling's batch_size to private_gradients."
        )


def real_targets(data: Examples) -> bool:
    """Whether targets are numbers to come near to, not classes."""
    return jnp.issubdtype(np.asarray(data.y).dtype, jnp.floating)  # NumPy takes bfloat16 for no float


def check_fits(
    model: Model,
    gradients: Any,
    variables: Variables,
    batch: Batch,
    data: Examples,
    teacher: Array | None,
) -> None:
    """Whether outputs, labels and teacher are ones that model and gradients have.

    The gradients of `batch_gradients` and `private_gradients` are traced, once for given shapes, so that what they
    refuse is refused before anything is trained. Another GradFn may read outputs and labels of any shape.

    Args:
      model, gradients, data, teacher: see `fit_ensemble`.
      variables, batch: of one model and one step, as shapes.
    """
    outputs = jax.eval_shape(lambda v, rows: model.apply(v, rows)[0], variables, batch.x)
    if len(getattr(outputs, "shape", ())) == 2:
        _check_labels(data, outputs.shape[-1], teacher)
    if hasattr(gradients, "live"):
        leaves, structure = jax.tree.flatten((variables, batch))
        shapes = tuple(jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype) for leaf in leaves)
        _trace(gradients, structure, shapes, surroundings())


@functools.lru_cache(maxsize=64)
def _trace(gradients: Any, structure: Any, shapes: tuple[Any, ...], around: Any) -> None:
    del around
    variables, batch = jax.tree.unflatten(structure, shapes)
    jax.eval_shape(gradients, variables, batch, jax.eval_shape(lambda: jax.random.key(0)))


def _check_labels(data: Examples, classes: int, teacher: Array | None) -> None:
    if real_targets(data):
        checks.finite("data.y", data.y)
        if np.ndim(data.y) > 1:  # one-hot rows, say: what the gradients make of them shows when they are traced
            return
        if classes != 1:
            raise ValueError(
                f"data.y holds real numbers, and the model has {classes} outputs; a regression model has one. For "
                "classes pass whole numbers."
            )
        return
    low, high = int(np.min(data.y)), int(np.max(data.y))
    if low < 0 or high >= classes:
        raise ValueError(f"data.y holds labels {low} to {high}; the model has logits for 0 to {classes - 1}.")
    if teacher is not None and np.shape(teacher)[-1] != classes:
        raise ValueError(f"teacher has {np.shape(teacher)[-1]} logits a row; the model has {classes}.")
