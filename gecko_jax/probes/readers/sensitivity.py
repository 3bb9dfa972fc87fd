"""Reads the sensitivity of posteriors, for a table in its features' standard deviations."""

from __future__ import annotations

from typing import Any

import numpy as np

from gecko_jax import signals
from gecko_jax.probes.readers.scale import center_and_step, spread
from gecko_jax.probes.readers.signal_reader import SEED, ProbedModel, SignalReader
from gecko_jax.probes.sensitivity import sensitivity as posterior_sensitivity
from gecko_jax.types import Array


def read(probed: ProbedModel, x: np.ndarray, y: np.ndarray, logits: Array) -> np.ndarray:
    """Returns posteriors, their sensitivities and the one-hot label, [n, 3, c]."""
    reference = probed.reference_inputs
    unit = None if probed.has_images(x) or reference is None else spread(reference)
    changes = posterior_sensitivity(
        probed.ask, x, SEED, unit=unit, outputs=probed.outputs, batch_size=probed.batch_size
    )
    posteriors, labels = np.split(signals.labeled_posteriors(logits, y), 2, axis=-1)
    return np.stack([posteriors, changes, labels], axis=-2)


def settings(probed: ProbedModel, x: np.ndarray) -> list[Any]:
    """Returns the units of a table."""
    reference = probed.reference_inputs
    units = [] if reference is None or probed.has_images(x) else center_and_step(reference)
    return [*units, SEED]


sensitivity = SignalReader(signals.sensitivity, read, settings)
