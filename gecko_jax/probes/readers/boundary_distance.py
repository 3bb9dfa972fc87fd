"""Reads boundary distances by HopSkipJump, for a table in its features' standard deviations."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from gecko_jax import signals
from gecko_jax.probes import hopskipjump
from gecko_jax.probes.on_host import by_number, numbered
from gecko_jax.probes.readers.scale import bounds, center_and_step
from gecko_jax.probes.readers.signal_reader import SEED, ProbedModel, SignalReader
from gecko_jax.types import Array, Model, Variables

MAX_STARTS = 64  # records that walks may begin from, beside noise


def read(probed: ProbedModel, x: np.ndarray, y: np.ndarray, logits: Array) -> np.ndarray:
    """Returns the L2 distance to the nearest input found with another label, [n]."""
    reference = probed.reference_inputs
    if probed.has_images(x):
        walk = functools.partial(hopskipjump.boundary_distance, bounds=bounds(reference, x), starts=starts(reference))
        if probed.model:
            return walk(_logits_of(probed.model), x, y, SEED, variables=probed.variables)
        with numbered(probed.ask) as number:
            return walk(by_number, x, y, SEED, variables=number)
    center, step = center_and_step(reference)
    standard, rows = (((part - center) / step).astype(np.float32) for part in (reference, x))
    walk = functools.partial(hopskipjump.boundary_distance, bounds=bounds(standard, rows), starts=starts(standard))
    if probed.model:
        classify = _logits_of_standardized(probed.model)
        return walk(classify, rows, y, SEED, variables=(probed.variables, center, step))
    with numbered(lambda z: probed.ask((z * step + center).astype(x.dtype))) as number:
        return walk(by_number, rows, y, SEED, variables=number)


def starts(reference: np.ndarray) -> np.ndarray:
    """Returns the reference inputs that walks may begin from."""
    return reference[:: max(1, len(reference) // MAX_STARTS)]


def settings(probed: ProbedModel, x: np.ndarray) -> list[Any]:
    """Returns the bounds of the walks, where they begin, and the units of a table."""
    reference = probed.reference_inputs
    if reference is None:
        return []
    units = [] if probed.has_images(x) else center_and_step(reference)
    return [bounds(reference, x), starts(reference), *units, SEED]


# The same function for the same model, because a compiled program belongs to one function.
@functools.lru_cache(maxsize=128)
def _logits_of(model: Model) -> Callable[[Variables, Array], Array]:
    return lambda variables, x: model.apply(variables, x)[0]


@functools.lru_cache(maxsize=128)
def _logits_of_standardized(model: Model) -> Callable[[tuple, Array], Array]:
    """Returns ((variables, center, step), x in steps from the center) -> logits."""
    return lambda parts, z: model.apply(parts[0], z * parts[2][None] + parts[1][None])[0]


boundary_distance = SignalReader(signals.boundary_distance, read, settings)
