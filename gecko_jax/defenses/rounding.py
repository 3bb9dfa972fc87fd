"""Rounded answers: probabilities to a few digits."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.defenses.answers import log_probabilities, released_logarithms
from gecko_jax.defenses.defense import Defense
from gecko_jax.types import Array

MAX_DIGITS = 15  # of a float64


def rounding(digits: int = 1) -> Defense:
    """Builds answers whose probabilities are rounded to some decimal digits.

    A probability of 0 is released as half a unit of the last digit, which is how an attacker reads it.

    Args:
      digits: at least 1, at most 15.

    Raises:
      ValueError: digits out of bounds.

    Source: Shokri et al., arXiv 1610.05820, section VIII.

    >>> np.exp(rounding(1).answer(np.log([[0.66, 0.34]]), np.array([0]))).round(3)
    array([[0.7, 0.3]])
    """
    checks.in_range("digits", checks.integer("digits", digits, 1), 1, MAX_DIGITS)

    def answer(outputs: Array, ids: Array) -> np.ndarray:
        del ids
        logarithms = log_probabilities(outputs)
        rounded = np.round(np.exp(logarithms), digits)
        return released_logarithms(rounded, logarithms.argmax(1), floor=0.5 * 10.0**-digits)

    return Defense("rounding", answer=answer)
