"""The joint loss of a multi-exit model: a weighted sum of one loss over its exits."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gecko_jax.checks import at_least, numbers
from gecko_jax.losses.cross_entropy import cross_entropy
from gecko_jax.losses.example_metrics import metric_of
from gecko_jax.losses.shapes import float_outputs
from gecko_jax.types import Array, Loss, Metric


def over_exits(loss: Loss | None = None, weights: Sequence[float] | None = None) -> Loss:
    """Builds sum_i weights_i * loss(logits of exit i), for outputs {"exits": [exits, classes]} of `models.multi_exit`.

    The metric is that of the loss on the last exit, the network's own output.

    Args:
      loss: a loss of logits [classes]; None: cross-entropy. One that reads a teacher teaches every exit the same.
      weights: one for each exit, the last one's last, at least 0 and not all 0. None: 1 / exits each, so that the size
        of a step does not depend on how many exits there are.

    Raises:
      ValueError: weights that are not a sequence of finite numbers, below 0 or all 0; when traced, other outputs or
        another number of exits.

    Source: Kaya, Hong and Dumitras, "Shallow-Deep Networks", ICML 2019 (arXiv 1810.07052), section 3, where the early
    exits' weights rise during training to .15, .3, .45, ... and the last exit's is 1; here they are constant.

    >>> from gecko_jax.types import Batch
    >>> outputs = {"exits": jnp.zeros((3, 2))}
    >>> round(float(over_exits(weights=(0.5, 0.5, 1.0)).apply(outputs, Batch(None, 1, None))), 4)  # 2 log 2
    1.3863
    """
    each = None if weights is None else numbers("weights", weights, "one weight for each exit")
    for weight in each or ():
        at_least("weights", weight, 0)
    if each is not None and not sum(each):
        raise ValueError(f"weights={each} are all 0, so that nothing would be trained. Give one exit a weight.")
    return _over_exits(loss or cross_entropy(), each)


@functools.cache
def _over_exits(loss: Loss, weights: tuple[float, ...] | None) -> Loss:
    metric = metric_of(loss)

    def apply(outputs, example):
        exits = _exits(outputs)
        if weights is not None and len(weights) != len(exits):
            raise ValueError(
                f"weights has {len(weights)} numbers, and the model has {len(exits)} exits, its own output among them; "
                "give one weight for each."
            )
        of_exit = jax.vmap(lambda logits: loss.apply(logits, example))(exits)
        each = weights or (1 / len(exits),) * len(exits)
        return functools.reduce(jnp.add, [weight * of_exit[i] for i, weight in enumerate(each)])

    def of_last(outputs, example):
        return metric.apply(_exits(outputs)[-1], example)

    def check(outputs, data):
        if loss.check and hasattr(outputs, "shape"):
            loss.check(outputs, data)  # of models.early_exit, which returns all exits in training alone
        elif loss.check:
            exits = _exits(outputs)
            loss.check(jax.ShapeDtypeStruct(exits.shape[1:], exits.dtype), data)

    return Loss(f"{loss.name} over exits", apply, Metric(metric.name, of_last, metric.summary), loss.reads, check)


def _exits(outputs: Any) -> Array:
    if not isinstance(outputs, Mapping) or set(outputs) != {"exits"}:
        shape = getattr(outputs, "shape", None)
        what = f"a {type(outputs).__name__}" if shape is None else f"of shape {shape}"
        raise ValueError(
            f"losses.over_exits reads outputs {{'exits': [exits, classes]}} of models.multi_exit; the model's are "
            f"{what}. Pass a loss of plain logits, such as losses.cross_entropy(), for a model without exits."
        )
    return float_outputs("over_exits", outputs["exits"], ("exits", "classes"))
