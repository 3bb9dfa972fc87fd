"""The loss of each token of a sequence."""

from __future__ import annotations

import math

import numpy as np

from gecko_jax.signals.signal import Signal
from gecko_jax.signals.token_outputs import losses_of_tokens
from gecko_jax.types import Array


def cross_entropies(logits: Array, y: Array) -> np.ndarray:
    """Returns -log p of each token [..., n, t], nats, of logits [..., n, t, v] and tokens y [n, t].

    0 for a token that does not count (a negative one), under every model.

    Args:
      logits: [..., n, t, v], of one model or of several.
      y: [n, t] tokens; a negative one does not count.

    >>> cross_entropies([[[0.0, 0.0], [0.0, 0.0]]], [[1, -1]]).round(6).tolist()
    [[0.693147, 0.0]]
    """
    return losses_of_tokens(logits, y)[0]


token_losses = Signal(
    "token_losses", cross_entropies, ("token",), larger="nonmembers", outputs="tokens", bounds=(0.0, math.inf)
)
