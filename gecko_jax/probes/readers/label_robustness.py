"""Reads label robustness: images are moved by a pixel, other records by noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from gecko_jax import signals
from gecko_jax.probes.label_only import noise_robustness, translation_robustness
from gecko_jax.probes.layouts import LAYOUTS, layout_of
from gecko_jax.probes.readers.scale import spread
from gecko_jax.probes.readers.signal_reader import SEED, ProbedModel, SignalReader, needs_floats
from gecko_jax.types import Array

NOISE_DEVIATIONS = 0.1  # the noise's standard deviation, in those of the features
NOISY_COPIES = 8


def read(probed: ProbedModel, x: np.ndarray, y: np.ndarray, logits: Array) -> np.ndarray:
    """Returns the share of moved copies that are given the true label, [n]."""
    if probed.has_images(x):
        return translation_robustness(probed.ask, x, y, layout=probed.layout, batch_size=probed.batch_size)
    return noise_robustness(probed.ask, x, y, noise_scale(probed), NOISY_COPIES, SEED, batch_size=probed.batch_size)


def noise_scale(probed: ProbedModel) -> np.ndarray:
    """Returns the standard deviation of the noise, of each feature [...]."""
    return NOISE_DEVIATIONS * spread(probed.reference_inputs)


def settings(probed: ProbedModel, x: np.ndarray) -> list[Any]:
    """Returns the layout of images, or the noise that is added to other records."""
    if probed.reference_inputs is None:
        return []
    return [str(probed.layout)] if probed.has_images(x) else [noise_scale(probed), NOISY_COPIES, SEED]


def hindrance(probed: ProbedModel) -> str:
    """Returns why these records cannot be moved, or ""."""
    x = probed.reference_inputs
    if (reason := needs_floats(probed)) or not probed.has_images(x):
        return reason
    layout = probed.layout or layout_of(x.shape) or ""
    sides = {"channels_last": x.shape[1:3], "channels_first": x.shape[2:]}.get(layout)
    if sides is None:
        return (
            f"which moves images, and x of shape {x.shape} does not tell where their channels are, or whether these "
            f"are images: say layout=, one of {', '.join(LAYOUTS)}"
        )
    return f"which moves images by a pixel, and these have {sides[0]} x {sides[1]}" if min(sides) < 2 else ""


def by_default(probed: ProbedModel) -> bool:
    """Returns whether the records are images.

    A predictor may know nothing of numbers between its features' values (a table, tokens).
    """
    return probed.has_images(probed.reference_inputs) and not needs_floats(probed)


label_robustness = SignalReader(signals.label_robustness, read, settings, hindrance, by_default)
