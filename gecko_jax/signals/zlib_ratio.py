"""The zlib ratio: a text's loss beside the length of its compressed form, which a model cannot have learnt."""

from __future__ import annotations

import math

import numpy as np

from gecko_jax import checks
from gecko_jax.signals.signal import Signal
from gecko_jax.types import Array


def loss_per_zlib_byte(loss: Array, zlib_bytes: Array) -> np.ndarray:
    """Returns loss / zlib_bytes [..., n], nats a byte; members have the smaller one.

    A repetitive text has a small loss under every model. It has a short compressed form as well.

    Args:
      loss: [..., n] mean loss of each text, nats a token.
      zlib_bytes: [n] bytes of the texts' compressed forms, at least 1.

    Raises:
      ValueError: another shape, or a length below 1.

    Source: Carlini et al., "Extracting Training Data from Large Language Models" (2021), sec. 5.2, "zlib".

    >>> loss_per_zlib_byte([4.0, 2.0], [20, 10]).tolist()
    [0.2, 0.2]
    """
    loss = np.asarray(loss, np.float64)
    lengths = checks.shape("zlib_bytes", np.asarray(zlib_bytes, np.float64), loss.shape[-1:])
    if lengths.size and not lengths.min() >= 1:
        raise ValueError(f"zlib_bytes runs down to {lengths.min():g}; a compressed text has at least 1 byte.")
    return loss / np.broadcast_to(lengths, loss.shape)


zlib_ratio = Signal("zlib_ratio", larger="nonmembers", needs=("text",), bounds=(0.0, math.inf))
