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

_Comparison = tuple[np.ndarray, float, Callable[[int], str]]  # distances [k], their limit, i -> what record i gets


def unsteady(ask: Callable[[np.ndarray], np.ndarray], logits: np.ndarray) -> str:
    """Returns a sentence if a model's outputs for one record differ, else "".

    Args:
      ask: rows [k] -> logits [k, c] of those records, in one call.
      logits: [n, c] of all records, computed in large batches.
    """
    posteriors = special.softmax(logits.astype(np.float64), -1)
    top = np.sort(posteriors, -1)
    rows = np.argsort(top[:, -1] - top[:, -2], kind="stable")[:RECORDS_ASKED_AGAIN]
    once, again = _asked_twice(lambda row: special.softmax(ask(row).astype(np.float64), -1), rows)
    finite = logits[np.isfinite(logits)]
    scale = float(np.ptp(finite)) if finite.size else 0.0

    def compare(other: np.ndarray, limit: float, why: str) -> _Comparison:
        apart = np.abs(once - other).sum(-1) / 2
        return apart, limit, lambda i: f"the probabilities {_shown(once[i])} and {_shown(other[i])}; {why}"

    return _sentence(
        rows,
        compare(again, MAX_DISTANCE, "it is random: dropout or augmentation is on"),
        compare(posteriors[rows], max(MAX_DISTANCE, MAX_BATCH_DISTANCE * scale),
                "it depends on the batch: it normalizes by the batch's statistics"),
    )  # fmt: skip


def unsteady_numbers(ask: Callable[[np.ndarray], np.ndarray], predictions: np.ndarray) -> str:
    """Returns a sentence if a regression's predictions for one record differ, else "".

    Args:
      ask: rows [k] -> predictions [k, ...] of those records, in one call.
      predictions: [n, ...] of all records, computed in large batches.
    """
    rows = np.arange(min(RECORDS_ASKED_AGAIN, len(predictions)))
    once, again = _asked_twice(ask, rows)
    limit = MAX_BATCH_DISTANCE * (float(np.std(predictions)) + float(np.finfo(np.float32).tiny))

    def compare(other: np.ndarray) -> _Comparison:
        apart = np.abs(once - other).reshape(len(rows), -1).max(-1)
        return apart, limit, lambda i: f"predictions that differ by {apart[i]:.3g}"

    return _sentence(rows, compare(again), compare(predictions[rows]))


def _asked_twice(ask: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> list[np.ndarray]:
    """Returns the outputs [k, ...] of two series of calls, each of one record."""
    return [np.stack([ask(rows[i : i + 1])[0] for i in range(len(rows))]) for _ in range(2)]


def _sentence(rows: np.ndarray, twice: _Comparison, in_a_batch: _Comparison) -> str:
    """Returns what the first comparison beyond its limit shows, of the record that differs most; "" if neither is."""
    for how, (apart, limit, difference) in (("asked twice", twice), ("asked alone and inside a batch", in_a_batch)):
        i = int(apart.argmax())
        if apart[i] > limit:
            return (
                f"The model is not in evaluation mode: {how}, record {rows[i]} gets {difference(i)}, and attacks are "
                "weaker than on the model that is deployed. Call it in evaluation mode (model.eval(), training=False, "
                "train=False)."
            )
    return ""


def _shown(posterior: np.ndarray) -> str:
    """Returns a few of the entries."""
    more = ", ..." if len(posterior) > 4 else ""
    return f"({', '.join(f'{p:.3f}' for p in posterior[:4])}{more})"
