"""Answers that hold the label and nothing else: the limit of every defense that masks scores and keeps the label."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.defenses.answers import log_probabilities
from gecko_jax.defenses.defense import Defense
from gecko_jax.types import Array


def label_only_answer(margin: float = 1e-3) -> Defense:
    """Builds answers with the same scores for each record: 1 / classes + margin for the label, less for the others.

    No defense that keeps the label can hide more at answer time, so that it bounds MemGuard, rounding and the like.
    What an attack still finds is in the labels.

    Args:
      margin: above 0; when it answers, below 1 - 1 / classes.

    Raises:
      ValueError: a margin out of bounds.

    Source: the bound that Choquette-Choo et al. set for MemGuard, "Label-only membership inference attacks" (2021).

    >>> np.exp(label_only_answer(0.1).answer(np.array([[9.0, 1.0]]), np.array([0]))).round(3)
    array([[0.6, 0.4]])
    """
    margin = float(checks.positive("margin", margin))

    def answer(outputs: Array, ids: Array) -> np.ndarray:
        del ids
        label = log_probabilities(outputs).argmax(1)
        classes = np.shape(outputs)[1]
        if margin >= 1 - 1 / classes:
            raise ValueError(f"margin={margin:g} must be below 1 - 1 / classes = {1 - 1 / classes:g}.")
        scores = np.full(np.shape(outputs), 1 / classes - margin / (classes - 1))
        scores[np.arange(len(scores)), label] = 1 / classes + margin
        return np.log(scores)

    return Defense("label_only_answer", answer=answer)
