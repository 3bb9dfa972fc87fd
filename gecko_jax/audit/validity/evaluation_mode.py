"""Evaluation mode: whether a model gives a record the same outputs twice, and alone as inside a batch.

A model in training mode drops units at random, or normalizes by the statistics of the batch. What an attack reads off
it is mostly that noise, and the leakage is underestimated.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special

RECORDS_ASKED_AGAIN = 4  # each alone: those with the smallest margins, whose posteriors move most
MAX_DISTANCE = 1e-3  # total variation between the outputs of two equal calls; a deterministic program has 0
MAX_BATCH_DISTANCE = 2.0**-6  # of another batch size, times the range of the logits: four roundings of a bfloat16


def unsteady(ask: Callable[[np.ndarray], np.ndarray], logits: np.ndarray) -> str:
    """Returns a sentence if a model's outputs for one record differ, else "".

    Args:
      ask: rows [k] -> logits [k, c] of those records, in one call.
      logits: [n, c] of all records, computed in large batches.
    """
    posteriors = special.softmax(logits.astype(np.float64), -1)
    top = np.sort(posteriors, -1)
    rows = np.argsort(top[:, -1] - top[:, -2], kind="stable")[:RECORDS_ASKED_AGAIN]
    once, again = (np.stack([special.softmax(ask(rows[i : i + 1])[0].astype(np.float64)) for i in range(len(rows))])
                   for _ in range(2))  # fmt: skip
    finite = logits[np.isfinite(logits)]
    scale = float(np.ptp(finite)) if finite.size else 0.0
    ways = (
        ("asked twice", once, again, MAX_DISTANCE, "it is random: dropout or augmentation is on"),
        ("asked alone and inside a batch", once, posteriors[rows], max(MAX_DISTANCE, MAX_BATCH_DISTANCE * scale),
         "it depends on the batch: it normalizes by the batch's statistics"),
    )  # fmt: skip
    for how, one, other, limit, why in ways:
        apart = np.abs(one - other).sum(-1) / 2
        i = int(apart.argmax())
        if apart[i] > limit:
            return (
                f"The model is not in evaluation mode: {how}, record {rows[i]} gets the probabilities {_shown(one[i])} "
                f"and {_shown(other[i])}; {why}, and attacks are weaker than on the model that is deployed. Call it in "
                "evaluation mode (model.eval(), training=False, train=False)."
            )
    return ""


def unsteady_numbers(ask: Callable[[np.ndarray], np.ndarray], predictions: np.ndarray) -> str:
    """Returns a sentence if a regression's predictions for one record differ, else "".

    Args:
      ask: rows [k] -> predictions [k, ...] of those records, in one call.
      predictions: [n, ...] of all records, computed in large batches.
    """
    rows = np.arange(min(RECORDS_ASKED_AGAIN, len(predictions)))
    once, again = (np.stack([ask(rows[i : i + 1])[0] for i in range(len(rows))]) for _ in range(2))
    limit = MAX_BATCH_DISTANCE * (float(np.std(predictions)) + np.finfo(np.float32).tiny)
    for how, other in (("asked twice", again), ("asked alone and inside a batch", predictions[rows])):
        apart = np.abs(once - other).reshape(len(rows), -1).max(-1)
        i = int(apart.argmax())
        if apart[i] > limit:
            return (
                f"The model is not in evaluation mode: {how}, record {rows[i]} gets predictions that differ by "
                f"{apart[i]:.3g}, and attacks are weaker than on the model that is deployed. Call it in evaluation "
                "mode (model.eval(), training=False, train=False)."
            )
    return ""


def _shown(posterior: np.ndarray) -> str:
    """Returns a few of the entries."""
    more = ", ..." if len(posterior) > 4 else ""
    return f"({', '.join(f'{p:.3f}' for p in posterior[:4])}{more})"
