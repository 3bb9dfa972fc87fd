"""Calls of predict functions: in full batches, compiled, and one array for what they give."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from gecko_jax import checks, surroundings
from gecko_jax.audit.validity import containers
from gecko_jax.trees import by_blocks
from gecko_jax.types import Array, Model


@functools.lru_cache(maxsize=128)
def compiled(model: Model) -> Callable:
    """Returns (variables, x) -> outputs of a model, compiled."""
    return surroundings.jit(lambda variables, x: model.apply(variables, x)[0])


def in_full_batches(predict: Callable[[Any], Array], size: int, kind: str, x: Any) -> np.ndarray:
    """Returns predict(x), by calls of exactly `size` records: the last one is repeated to fill up a call."""

    def ask(rows):
        full = containers.copied(containers.take(x, rows))
        return one_output(predict(full), full, kind)

    return by_blocks(ask, containers.count(x), size, full=True)


def one_output(result: Any, x: Any, kind: str) -> np.ndarray:
    """Returns what predict gave for records x as one array, or raises ValueError for what is none."""
    records = containers.count(x)
    if isinstance(result, (tuple, list, dict)):
        shape = f"[{records}, classes]" if kind == "classes" else f"with {records} rows"
        raise ValueError(f"predict returned a {type(result).__name__}; expected one array {shape}.")
    checks.unmasked("output of predict", result)
    result = np.array(result)  # a copy, because predict may give the same buffer at every call
    if kind != "classes":
        return checks.shape("output of predict", result, (records, *result.shape[1:]))
    if result.ndim == 3:
        raise ValueError(
            f"output of predict has shape {result.shape}; expected ({records}, classes). If these are a language "
            "model's logits (records, tokens, vocabulary), say outputs='tokens'."
        )
    return result if result.shape == (records,) else checks.shape("output of predict", result, (records, None))
