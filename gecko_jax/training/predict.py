"""Evaluation: logits of many rows, in batches of one static shape, always in evaluation mode."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import numpy as np

from gecko_jax import surroundings
from gecko_jax.checks import class_outputs, not_empty, unmasked
from gecko_jax.trees import by_blocks, row_count, take
from gecko_jax.types import Array, Model, Variables

BATCH = 500


@functools.lru_cache(maxsize=128)
def _forward(model: Model) -> Callable[[Variables, Array], Array]:
    return surroundings.jit(lambda variables, x: class_outputs(model.apply(variables, x)[0], len(x)))


def predict(model: Model, variables: Variables, x: Array, batch_size: int = BATCH) -> np.ndarray:
    """Logits of one model.

    Args:
      model, variables: a trained model.
      x: inputs [n, ...], n >= 1.
      batch_size: rows a call.

    Returns:
      float32 [n, classes] on the host.

    Raises:
      ValueError: a model whose outputs are not one array [rows, classes].
    """
    forward, x = _forward(model), not_empty("x", np.asarray(unmasked("x", x)))
    variables = jax.device_put(variables)
    return by_blocks(lambda rows: forward(variables, x[rows]), len(x), min(batch_size, len(x)), full=True)


def predict_ensemble(model: Model, variables: Variables, x: Array, batch_size: int = BATCH) -> np.ndarray:
    """Logits [m, n, classes] of m models whose variables have a leading axis; see `predict`."""
    models = row_count("variables", variables)
    return np.stack([predict(model, take(variables, i), x, batch_size) for i in range(models)])
