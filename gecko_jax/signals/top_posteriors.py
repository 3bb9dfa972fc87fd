"""The three largest probabilities, without the label: features for an attack network."""

from __future__ import annotations

import numpy as np

from gecko_jax.signals.class_outputs import check_logits, posteriors
from gecko_jax.signals.signal import Signal
from gecko_jax.types import Array

POSTERIORS = 3


def largest_probabilities(logits: Array, y: Array) -> np.ndarray:
    """Returns the three largest probabilities, falling, [..., n, 3] (of two classes, both); y [n] is not read.

    Args:
      logits: [..., n, c], of one model or of several.
      y: [n] class numbers.

    Source: Salem et al., "ML-Leaks" (2019), adversary 1.

    >>> largest_probabilities([[0.0, 0.0]], [1]).round(6).tolist()
    [[0.5, 0.5]]
    """
    logits, _ = check_logits(logits, y)
    return -np.sort(-posteriors(logits)[0], axis=-1)[..., :POSTERIORS]


top_posteriors = Signal("top_posteriors", largest_probabilities, axes=("rank",), larger="neither")
