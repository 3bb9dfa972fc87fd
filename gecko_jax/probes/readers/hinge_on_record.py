"""Reads the hinge and features of the record itself: its values, or random projections of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gecko_jax import keys, signals
from gecko_jax.probes.readers.scale import center_and_step
from gecko_jax.probes.readers.signal_reader import SEED, ProbedModel, SignalReader
from gecko_jax.types import Array

MAX_FEATURES = 32  # of a record, beside its hinge


def read(probed: ProbedModel, x: np.ndarray, y: np.ndarray, logits: Array) -> np.ndarray:
    """Returns the hinge and behind it features of the record, [n, 1 + d]."""
    return np.column_stack([signals.hinge(logits, y), features(x, probed.reference_inputs)])


def features(x: np.ndarray, reference: np.ndarray | None) -> np.ndarray:
    """Returns records' features [n, at most MAX_FEATURES]: their values, or random projections, the same every time.

    Projections are of standardized features, except for images, because otherwise a feature's unit drowns the others.
    """
    flat = x.reshape(len(x), -1).astype(np.float64)
    if flat.shape[1] <= MAX_FEATURES:
        return flat
    if x.ndim != 4 and reference is not None:
        center, step = (part.reshape(-1).astype(np.float64) for part in center_and_step(reference))
        flat = (flat - center) / step
    draws = keys.generator(SEED, "audit", "features of records")
    return flat @ draws.standard_normal((flat.shape[1], MAX_FEATURES)) / np.sqrt(flat.shape[1])


def settings(probed: ProbedModel, x: np.ndarray) -> list[Any]:
    """Returns the units of a table, and how many features there are."""
    reference = probed.reference_inputs
    units = [] if reference is None or probed.has_images(x) else center_and_step(reference)
    return [*units, MAX_FEATURES, SEED]


def hindrance(probed: ProbedModel) -> str:
    """Returns why records that are not an array of numbers have no features, or ""."""
    x = probed.reference_inputs
    numbers = isinstance(x, np.ndarray) and x.dtype.kind in "biuf"
    return "" if numbers else "for which records are arrays of numbers, and these are not"


hinge_on_record = SignalReader(signals.hinge_on_record, read, settings, hindrance)
