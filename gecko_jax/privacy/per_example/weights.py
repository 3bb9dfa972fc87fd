"""Weights of a batch's rows: 1 for a real row, 0 for padding, and nothing else.

A weight of 1/2 would have to scale what an example adds; scale the loss instead, before the clipping. Other values are
refused if they are known. In a compiled program they are not known: there they turn the result into NaN, at which
training stops. So no row is counted fully, or dropped, against the meaning of its weight.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gecko_jax import checks
from gecko_jax.types import Array, Batch


def weight_of(batch: Any) -> Array | None:
    """Returns `batch.weight` of a `types.Batch`, else None: in another pytree that name is its user's."""
    return batch.weight if isinstance(batch, Batch) else None


def check_weights(name: str, weight: Array | None, rows: int) -> tuple[Array, Array]:
    """Returns which rows are real, bool [rows], and a factor: 1, or NaN if a traced weight is neither 0 nor 1.

    Args:
      name: of the argument, for messages.
      weight: [rows], 0 or 1 (or bool); None if all rows are real.
      rows: how many.

    Raises:
      ValueError: another shape, or another value, if the values are known.

    >>> check_weights("weight", [1.0, 0.0], 2)[0].tolist()
    [True, False]
    """
    if weight is None:
        return jnp.ones(rows, bool), jnp.float32(1)
    checks.shape(name, weight, (rows,))
    if not isinstance(weight, Tracer) and getattr(weight, "is_fully_addressable", True):
        values = np.asarray(weight)
        wrong = np.flatnonzero(~((values == 0) | (values == 1)))
        if len(wrong):
            raise ValueError(
                f"{name}[{wrong[0]}]={values[wrong[0]]} must be 1 for a real row or 0 for padding. To count an example "
                "less, scale its loss; its gradient is clipped after that."
            )
        return jnp.asarray(values > 0), jnp.float32(1)
    weight = jnp.asarray(weight)
    return weight > 0, jnp.where(jnp.all((weight == 0) | (weight == 1)), jnp.float32(1), jnp.float32(jnp.nan))
