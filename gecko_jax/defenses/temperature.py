"""Softmax temperature at answer time: flatter probabilities in the same order."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.defenses.answers import log_probabilities
from gecko_jax.defenses.defense import Defense
from gecko_jax.types import Array


def temperature(temperature: float = 5.0) -> Defense:
    """Builds answers softmax(logits / T); training is as it is.

    The label stays, and so does every attack that reads the label alone. Who knows T can undo it exactly.

    Args:
      temperature: T, above 0; the paper compares 1, 5, 10, 15 and 20.

    Raises:
      ValueError: a temperature that is not above 0.

    Source: Duddu et al., arXiv 2010.00912, section 5 (off-the-shelf architectures); Shokri et al., arXiv 1610.05820,
      section VIII.

    >>> temperature(2.0).answer(np.log([[0.8, 0.2]]), np.array([0])).round(3)  # odds 4 become 2
    array([[-0.405, -1.099]])
    """
    divisor = float(checks.positive("temperature", temperature))

    def answer(outputs: Array, ids: Array) -> np.ndarray:
        del ids
        return log_probabilities(outputs, divisor)

    return Defense("temperature", answer=answer)
