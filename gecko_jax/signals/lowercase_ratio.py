"""The lowercase ratio: a text's loss beside that of the same text in lower case, which the model was not trained on."""

from __future__ import annotations

import math

import numpy as np

from gecko_jax import checks
from gecko_jax.signals.reference_ratio import quotient
from gecko_jax.signals.signal import Signal
from gecko_jax.types import Array


def loss_per_lowercase_loss(loss: Array, lowercase: Array) -> np.ndarray:
    """Returns loss / lowercase [..., n]; members have the smaller one.

    Args:
      loss: [..., n] mean loss of each text, nats a token.
      lowercase: [..., n] the same model's loss on the text in lower case.

    Raises:
      ValueError: shapes that differ, or losses below 0.

    Source: Carlini et al., "Extracting Training Data from Large Language Models" (2021), sec. 5.2, "lowercase", whose
    figure is the inverse.

    >>> loss_per_lowercase_loss([1.0, 3.0], [4.0, 3.0]).tolist()
    [0.25, 1.0]
    """
    loss = np.asarray(loss, np.float64)
    return quotient("loss", loss, checks.shape("lowercase", np.asarray(lowercase, np.float64), loss.shape))


lowercase_ratio = Signal("lowercase_ratio", larger="nonmembers", needs=("text",), bounds=(0.0, math.inf))
