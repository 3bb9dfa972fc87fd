"""Top-k answers: the k largest probabilities, and nothing of the others."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.defenses.answers import log_probabilities, released_logarithms
from gecko_jax.defenses.defense import Defense
from gecko_jax.types import Array


def top_k(k: int = 1) -> Defense:
    """Builds answers with the k largest probabilities; the other classes share the rest equally.

    An attacker who is told k probabilities can do no better than to fill the others in alike. k=1 is the label and its
    confidence, from which most attacks work as before.

    Args:
      k: at least 1; when it answers, fewer than the classes.

    Raises:
      ValueError: k out of bounds.

    Source: Shokri et al., arXiv 1610.05820, section VIII.

    >>> np.exp(top_k(1).answer(np.log([[0.7, 0.2, 0.1]]), np.array([0]))).round(3)
    array([[0.7 , 0.15, 0.15]])
    """
    k = checks.integer("k", k, 1)

    def answer(outputs: Array, ids: Array) -> np.ndarray:
        del ids
        probabilities = np.exp(log_probabilities(outputs))
        classes = probabilities.shape[1]
        if k >= classes:
            raise ValueError(f"k={k} of {classes} classes would hide nothing; expected 1 to {classes - 1}.")
        order = np.argsort(-probabilities, axis=1, kind="stable")
        rest = order[:, k:]
        shares = np.take_along_axis(probabilities, rest, 1).mean(1, keepdims=True)
        label = order[:, 0]
        np.put_along_axis(probabilities, rest, np.broadcast_to(shares, rest.shape), 1)
        return released_logarithms(probabilities, label)

    return Defense("top_k", answer=answer)
