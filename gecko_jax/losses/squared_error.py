"""Squared error of a regression model's outputs."""

from __future__ import annotations

import functools

import jax.numpy as jnp

from gecko_jax import checks
from gecko_jax.losses.example_metrics import rmse
from gecko_jax.losses.shapes import float_outputs, targets
from gecko_jax.types import Loss, Metric


@functools.cache
def squared_error(metric: Metric | None = None) -> Loss:
    """Builds sum_k (f_k - y_k)^2 / 2 for outputs f [k] and real y [k], or y without an axis for one output.

    Its gradient with respect to f is the residual f - y.

    Args:
      metric: `rmse()` if None; `losses.r2()` for the coefficient of determination.

    >>> from gecko_jax.types import Batch
    >>> float(squared_error().apply(jnp.array([3.0]), Batch(None, jnp.float32(1.0), None)))
    2.0
    """

    def apply(outputs, example):
        outputs = float_outputs("squared_error", outputs, ("outputs",))
        return 0.5 * jnp.sum(jnp.square(outputs - targets("squared_error", example.y, outputs)))

    return Loss("squared_error", apply, metric or rmse(), check=lambda outputs, data: _check_finite(data.y))


def _check_finite(y) -> None:
    checks.finite("data.y", y)
