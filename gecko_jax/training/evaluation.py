"""Each example's loss, and the metric, of trained models in evaluation mode."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from gecko_jax import surroundings
from gecko_jax.losses import cross_entropy, metric_of
from gecko_jax.training.objectives import check_scalar
from gecko_jax.training.pool import check_reads, examples_of, first_row
from gecko_jax.training.predict import ROWS_PER_CALL, check_entries, count_rows
from gecko_jax.trees import by_blocks, example_shapes, outputs_by_row, row_count, take
from gecko_jax.types import Batch, Examples, Loss, Model, Variables


class Evaluation(NamedTuple):
    """How well a model fits some rows.

    Attributes:
      losses: each example's loss, float32 [n]; [m, n] for m models. What a loss attack reads.
      metrics: the loss's metric by its name, {"accuracy": 0.97}; float64 [m] for m models.
    """

    losses: np.ndarray
    metrics: dict[str, Any]


def evaluate(
    model: Model,
    variables: Variables,
    data: Examples,
    loss: Loss | None = None,
    *,
    extra: Mapping[str, Any] | None = None,
    batch_size: int = ROWS_PER_CALL,
) -> Evaluation:
    """Returns each example's loss and the metric of one model, in evaluation mode.

    Args:
      model, variables: a trained model.
      data: examples, n >= 1 rows; x and y may be pytrees.
      loss: a per-example loss; cross-entropy if None.
      extra: what the loss reads beside x and y, such as {"mask": [n, t]}.
      batch_size: rows a call.

    Returns:
      An Evaluation with losses [n].

    Raises:
      ValueError: outputs and labels that the loss does not read, labels that the outputs cannot express, or a loss that
        reads more than `extra` holds; masked entries.

    >>> from gecko_jax import models
    >>> model, x = models.create("mlp", 2, hidden=()), np.zeros((4, 3), np.float32)
    >>> variables = jax.tree.map(np.zeros_like, model.init(jax.random.key(0), x))
    >>> result = evaluate(model, variables, Examples(x, np.array([0, 0, 0, 1]), np.arange(4)))
    >>> result.losses.round(2).tolist(), result.metrics  # log 2 each; the first class wins a tie
    ([0.6899999976158142, 0.6899999976158142, 0.6899999976158142, 0.6899999976158142], {'accuracy': 0.75})
    """
    loss, data = loss or cross_entropy(), examples_of(data, "evaluate", "test")
    variables = jax.device_put(variables)
    batch = _checked("data", model, variables, Batch(data.x, data.y, None, extra), loss)
    score, metric, rows = _losses(model, loss), metric_of(loss), row_count("data", batch)
    size = min(batch_size, rows)
    losses, scores = by_blocks(lambda index: score(variables, take(batch, index)), rows, size, full=True)
    return Evaluation(losses, {metric.name: metric.summary(scores.mean(0, dtype=np.float64))})


def check_rows(name: str, model: Model, rows: Examples, pool: Examples, loss: Loss | None = None) -> None:
    """Raises ValueError for rows that `evaluate` will refuse, before the model is trained.

    Args:
      name: what the caller calls the rows, which the message shows.
      model: the model to be trained.
      rows: to be evaluated later.
      pool: to be trained on.
      loss: see `evaluate`.

    Raises:
      ValueError: as `evaluate`.

    >>> from gecko_jax import models
    >>> rows = Examples(np.zeros((1, 3), np.float32), np.array([7]), np.arange(1))
    >>> check_rows("reference", models.create("mlp", 2, hidden=()), rows, pool=rows)
    Traceback (most recent call last):
    ...
    ValueError: reference.y holds labels 7 to 7; the model has logits for 0 to 1.
    """
    variables = jax.eval_shape(model.init, jax.random.key(0), first_row(pool))
    try:
        _checked(name, model, variables, Batch(rows.x, rows.y, None, None), loss or cross_entropy())
    except ValueError as error:
        if not str(error).startswith("x "):  # as a model calls its inputs
            raise
        raise ValueError(f"{name}.{error}") from error


def _checked(name: str, model: Model, variables: Variables, data: Batch, loss: Loss) -> Batch:
    """Returns the rows as host arrays of weight 1, after all checks of `evaluate`."""
    check_reads(loss, data.extra)
    for label, tree in {f"{name}.x": data.x, f"{name}.y": data.y, "extra": data.extra}.items():
        check_entries(label, tree)
    weight = np.ones(count_rows(name, Examples(data.x, data.y, None)), np.float32)
    batch = jax.tree.map(np.asarray, data._replace(weight=weight))
    count_rows(name, batch)
    one = take(batch, slice(0, 1))
    check_scalar(loss.name, jax.eval_shape(_losses(model, loss), variables, one)[0].shape[1:])
    if loss.check:
        outputs = jax.eval_shape(lambda variables, x: model.apply(variables, x)[0], variables, one.x)
        try:
            loss.check(example_shapes(outputs), batch)
        except ValueError as error:  # a loss knows its rows by the name that training gives them
            raise ValueError(str(error).replace("data.", f"{name}.")) from error
    return batch


def evaluate_ensemble(
    model: Model, variables: Variables, data: Examples, loss: Loss | None = None, **options: Any
) -> Evaluation:
    """Returns each example's loss and the metric of m models, in evaluation mode.

    Args:
      model: the architecture that they share.
      variables: trained variables with a leading axis [m].
      data, loss: see `evaluate`.
      **options: of `evaluate`: extra, batch_size.

    Returns:
      An Evaluation with losses [m, n] and metrics [m]. `audit.from_signals` takes such losses.

    Raises:
      ValueError: see `evaluate`.

    >>> from gecko_jax import losses, models
    >>> model, x = models.create("mlp", 1, hidden=()), np.ones((4, 3), np.float32)
    >>> several = jax.vmap(lambda key: model.init(key, x))(jax.random.split(jax.random.key(0), 5))
    >>> data = Examples(x, np.zeros(4, np.float32), np.arange(4))
    >>> result = evaluate_ensemble(model, several, data, losses.squared_error())
    >>> result.losses.shape, result.metrics["rmse"].shape
    ((5, 4), (5,))
    """
    models = row_count("variables", variables)
    each = [evaluate(model, take(variables, i), data, loss, **options) for i in range(models)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *each)


@functools.lru_cache(maxsize=64)
def _losses(model: Model, loss: Loss) -> Callable[[Variables, Batch], tuple[Any, Any]]:
    """(variables, batch) -> (losses [b], pieces of the metric [b] or [b, p])."""
    metric = metric_of(loss)

    def run(variables, batch):
        outputs = outputs_by_row(model.apply(variables, batch.x)[0], len(batch.weight))
        return jax.vmap(lambda one, example: (loss.apply(one, example), metric.apply(one, example)))(outputs, batch)

    return surroundings.jit(run)
