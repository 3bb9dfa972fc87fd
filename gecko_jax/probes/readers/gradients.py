"""Reads the three signals of a white box: gradients of each record's own loss."""

from __future__ import annotations

import numpy as np

from gecko_jax import signals
from gecko_jax.probes import gradients
from gecko_jax.probes.readers.signal_reader import ProbedModel, SignalReader
from gecko_jax.types import Array


def read_small_gradient(probed: ProbedModel, x: np.ndarray, y: np.ndarray, logits: Array) -> np.ndarray:
    """Returns minus the L2 norm of each record's gradient, [n]."""
    return gradients.small_gradient(*probed.network(), x, y)


def read_layer_gradients(probed: ProbedModel, x: np.ndarray, y: np.ndarray, logits: Array) -> np.ndarray:
    """Returns minus the log of the gradient's norm, of each parameter leaf, [n, leaf], in the order of their names."""
    return -_log_norms(probed, x, y)


def read_white_box(probed: ProbedModel, x: np.ndarray, y: np.ndarray, logits: Array) -> np.ndarray:
    """Returns posteriors, one-hot label, loss and log gradient norms, [n, 4, w], filled up with zeros."""
    posteriors, labels = np.split(signals.labeled_posteriors(logits, y), 2, axis=-1)
    loss = np.minimum(signals.loss(logits, y), np.finfo(np.float32).max)
    parts = [posteriors, labels, loss[:, None], _log_norms(probed, x, y)]
    values = np.zeros((len(y), len(parts), max(part.shape[-1] for part in parts)))
    for i, part in enumerate(parts):
        values[:, i, : part.shape[-1]] = part
    return values


def _log_norms(probed: ProbedModel, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    norms = gradients.gradient_norms(*probed.network(), x, y)
    leaves = np.stack([norms[leaf] for leaf in sorted(norms) if leaf != "all"], axis=-1).astype(np.float64)
    return np.log(np.maximum(leaves, np.finfo(np.float32).tiny))


small_gradient = SignalReader(signals.small_gradient, read_small_gradient)
layer_gradients = SignalReader(signals.layer_gradients, read_layer_gradients)
white_box = SignalReader(signals.white_box, read_white_box)
