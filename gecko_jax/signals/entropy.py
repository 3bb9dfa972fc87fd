"""The entropy of the posterior: how a model spreads its bets."""

from __future__ import annotations

import math

import numpy as np

from gecko_jax.signals.class_outputs import check_logits, posteriors
from gecko_jax.signals.signal import Signal
from gecko_jax.types import Array


def posterior_entropy(logits: Array, y: Array) -> np.ndarray:
    """Returns -sum_k p_k log p_k [..., n], nats, of logits [..., n, c]; y [n] is checked and not read.

    Args:
      logits: [..., n, c], of one model or of several.
      y: [n] class numbers.

    >>> posterior_entropy([[0.0, 0.0]], [1]).round(6).tolist()
    [0.693147]
    """
    logits, _ = check_logits(logits, y)
    p, log_p, _ = posteriors(logits)
    return -(p * np.where(p > 0, log_p, 0.0)).sum(-1)


entropy = Signal("entropy", posterior_entropy, larger="nonmembers", bounds=(0.0, math.inf))
