"""Similarity-unpairing: a small model that is published shall not show where its large sibling is weak."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import surroundings
from gecko_jax.checks import finite, positive
from gecko_jax.losses import accuracy, cross_entropy
from gecko_jax.models import input_gradients
from gecko_jax.training.distillations.distillation import Teacher, check_options, check_teacher
from gecko_jax.training.ensemble import Fit, fit_ensemble
from gecko_jax.training.objectives import GradFn, mean_loss, mean_over, objective_gradients
from gecko_jax.trees import by_blocks, take, trainable_patterns
from gecko_jax.types import Examples, Loss, Model

ROWS_PER_CALL = 256
TINY = 1e-12  # added to squared norms: a gradient that has vanished has no direction, and its cosine is 0


def unpair(model: Model, data: Examples, member: Any, sibling: Teacher, *, weight: float = 1.0, **options: Any) -> Fit:
    """Fine-tunes m small models so that adversarial examples made on them do not fool their large siblings.

      mean of CE(f_s(x), y) + weight * cos(d CE(f_s(x), y) / dx, d CE(f_l(x), y) / dx)^2,    s: small, l: the sibling

    Args:
      model: the small architecture.
      data: the pool of examples, n rows; x is one array of floats.
      member: bool [m, n], who trains on what.
      sibling: the large model, or each small model's own. It is not changed.
      weight: of the similarity, above 0.
      **options: of `fit_ensemble`; init= are the small models' variables [m, ...] before, None: fresh ones.

    Raises:
      ValueError: a weight out of bounds, inputs that are not floats, options that are set here (loss, gradients, ...).

    Source: Hong, Carlini and Kurakin, "Publishing efficient on-device models increases adversarial vulnerability"
      (SaTML 2023, arXiv 2212.13700), for the threat and the aim. The form of the objective is ours.

    >>> from gecko_jax import models
    >>> data = Examples(np.eye(4, dtype=np.float32), np.array([0, 1, 0, 1]), np.arange(4))
    >>> large, small = models.create("mlp", 2, hidden=(8,)), models.create("mlp", 2, hidden=(3,))
    >>> sibling = Teacher(large, large.init(jax.random.key(0), data.x))
    >>> unpair(small, data, np.ones((1, 4), bool), sibling, epochs=1).loss.shape
    (1, 1)
    """
    check_options("unpair", options)
    check_teacher("sibling", sibling)
    gradients = _gradients(model, float(positive("weight", weight)), trainable_patterns(options.get("trainable")))
    if sibling.per_model:
        each = sibling.for_each(len(np.atleast_2d(member)))
        rows = np.stack([_directions(sibling.model, take(each, i), data) for i in range(len(np.atleast_2d(member)))])
    else:
        rows = _directions(sibling.model, sibling.variables, data)
    extra = {"sibling": rows}
    return fit_ensemble(
        model, data, member, gradients=gradients, extra=extra, extra_per_model=sibling.per_model, **options
    )


def similarity(a: Any, b: Any) -> Any:
    """Returns the squared cosine of each row's two directions [b]; 0 if one of them has vanished.

    Args:
      a, b: [b, ...].

    >>> [round(float(each), 3) for each in similarity(jnp.array([[1.0, 0.0], [0.0, 0.0]]), jnp.array([[1.0, 1.0]] * 2))]
    [0.5, 0.0]
    """
    a, b = (leaf.reshape(leaf.shape[0], -1) for leaf in (a, b))
    product = jnp.sum(_unit(a) * _unit(b), -1)
    return product**2


def _unit(rows: Any) -> Any:
    """Returns the rows scaled to length 1, first by their largest entry, because small squares are 0 in float32."""
    rows = rows.astype(jnp.promote_types(rows.dtype, jnp.float32))  # TINY is 0 in half precision
    top = jax.lax.stop_gradient(jnp.max(jnp.abs(rows), -1, keepdims=True))
    rows = rows / jnp.where(top > 0, top, 1)
    return rows * jax.lax.rsqrt(jnp.sum(rows**2, -1, keepdims=True) + TINY)


def _directions(model: Model, variables: Any, data: Examples) -> np.ndarray:
    """Returns the input gradients of one large model on all rows, each of length 1, so that none is too small."""
    variables = jax.device_put(variables)
    rows = len(data.y)
    block = min(ROWS_PER_CALL, rows)
    x, y = np.asarray(data.x), np.asarray(data.y)
    slopes = by_blocks(lambda i: _slopes(model, variables, x[i], y[i]), rows, block, full=True)
    return finite("the sibling's input gradients", slopes)


@functools.partial(surroundings.jit, static_argnums=0)
def _slopes(model: Model, variables: Any, x: Any, y: Any) -> Any:
    slopes: Any = input_gradients(model, variables, x, y)
    return _unit(slopes.reshape(slopes.shape[0], -1)).reshape(slopes.shape)


@functools.lru_cache(maxsize=64)
def _gradients(model: Model, weight: float, trainable: tuple[str, ...] | None) -> GradFn:
    plain = cross_entropy()

    def objective(variables, batch, real, key):
        outputs, updates = model.apply(variables, batch.x, key=key, train=True)
        ours = input_gradients(model, variables, batch.x, batch.y)
        alike = similarity(ours, batch.extra["sibling"])
        return mean_loss(plain, outputs, batch, real) + weight * mean_over(real, alike), outputs, updates

    loss = Loss("unpair", plain.apply, accuracy(), reads=("sibling",), check=plain.check)
    return objective_gradients(objective, loss, trainable)
