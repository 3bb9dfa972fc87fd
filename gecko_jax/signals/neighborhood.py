"""The neighborhood difference: a text's loss beside that of texts that differ from it in a few tokens."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.signals.signal import Signal
from gecko_jax.types import Array


def loss_above_neighbors(loss: Array, neighbors: Array) -> np.ndarray:
    """Returns loss - mean of the neighbors' losses, [..., n], nats; members have the smaller one.

    Args:
      loss: [..., n] mean loss of each text, nats a token.
      neighbors: [k, ..., n] the same model's losses on k neighbors of each text, k >= 1.

    Raises:
      ValueError: shapes that do not fit, or no neighbor.

    Source: Mattern et al., "Membership Inference Attacks against Language Models via Neighbourhood Comparison" (2023),
    eq. 4.

    >>> loss_above_neighbors([1.0, 3.0], [[2.0, 3.0], [4.0, 3.0]]).tolist()
    [-2.0, 0.0]
    """
    loss = np.asarray(loss, np.float64)
    others = checks.shape("neighbors", np.asarray(neighbors, np.float64), (None, *loss.shape))
    return loss - checks.not_empty("neighbors", others).mean(0)


neighborhood = Signal("neighborhood", larger="nonmembers", needs=("text",))
