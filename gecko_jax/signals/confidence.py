"""The largest probability: what a model is surest of, whether or not it is the label."""

from __future__ import annotations

import numpy as np

from gecko_jax.signals.class_outputs import check_logits, logsumexp
from gecko_jax.signals.signal import Signal
from gecko_jax.types import Array


def largest_probability(logits: Array, y: Array) -> np.ndarray:
    """Returns max_k p_k [..., n] of logits [..., n, c]; y [n] is checked and not read.

    Args:
      logits: [..., n, c], of one model or of several.
      y: [n] class numbers.

    Source: Salem et al., "ML-Leaks" (2019), adversary 3.

    >>> largest_probability([[0.0, 0.0]], [1]).tolist()
    [0.5]
    """
    logits, _ = check_logits(logits, y)
    return np.exp(logits.max(-1) - logsumexp(logits))


confidence = Signal("confidence", largest_probability, larger="members", bounds=(0.0, 1.0))
