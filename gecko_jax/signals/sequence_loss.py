"""The loss of a sequence: the mean over its tokens, the logarithm of its perplexity."""

from __future__ import annotations

import math

import numpy as np

from gecko_jax.signals.signal import Signal
from gecko_jax.signals.token_outputs import losses_of_tokens
from gecko_jax.types import Array


def mean_cross_entropy(logits: Array, y: Array) -> np.ndarray:
    """Returns the mean of -log p over a record's tokens [..., n], nats, of logits [..., n, t, v] and tokens y [n, t].

    Args:
      logits: [..., n, t, v], of one model or of several.
      y: [n, t] tokens; a negative one does not count.

    Source: Carlini et al., "Extracting Training Data from Large Language Models" (2021), whose perplexity is its exp.

    >>> mean_cross_entropy([[[0.0, 0.0], [0.0, -np.inf]]], [[1, 0]]).round(6).tolist()
    [0.346574]
    """
    losses, counts = losses_of_tokens(logits, y)
    return losses.sum(-1) / counts.sum(-1)


sequence_loss = Signal(
    "sequence_loss",
    mean_cross_entropy,
    larger="nonmembers",
    outputs="tokens",
    stands_for=("loss", "soft_loss", "phi"),
    bounds=(0.0, math.inf),
)
