"""What is read off a language model: losses of rows, perplexity, and what it knows of canaries."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.memorisation.data import Trial
from gecko_jax import losses, metrics, training
from gecko_jax.datasets import text
from gecko_jax.datasets.text.canary_templates import space
from gecko_jax.trees import by_blocks
from gecko_jax.types import Batch, Examples, Model, Variables

LOSS = losses.sequence_cross_entropy(padding=-1)
ROWS_PER_CALL = 32  # logits of more rows do not fit the cache
CHANCE_EXPOSURE = 1.44  # bits, 1 / log 2: the mean exposure of a canary that was never seen


class RowLosses(NamedTuple):
    """Mean losses of a token, nats, of the rows of a trial: members, non-members and calibration rows."""

    members: np.ndarray
    nonmembers: np.ndarray
    calibration: np.ndarray


def row_losses(model: Model, variables: Variables, rows: Examples) -> np.ndarray:
    """Returns each row's mean loss of a token that counts, float64 [n].

    `training.evaluate` gives the same; it checks model and labels at each call, which costs more than a small model.
    """
    forward, variables = _forward(model), jax.device_put(variables)
    x, y = np.asarray(rows.x), np.asarray(rows.y)
    size = min(ROWS_PER_CALL, len(y))
    return by_blocks(lambda index: forward(variables, x[index], y[index]), len(y), size, full=True).astype(np.float64)


@functools.lru_cache(maxsize=8)
def _forward(model: Model) -> Callable[..., Any]:
    def each(variables, x, y):
        return jax.vmap(lambda outputs, y: LOSS.apply(outputs, Batch(None, y, None)))(model.apply(variables, x)[0], y)

    return jax.jit(each)


def perplexity(model: Model, variables: Variables, rows: Examples) -> float:
    """Returns exp(mean loss of a token) over all tokens that count: each token counts alike, not each row.

    Args:
      model, variables: a language model.
      rows: with y = -1 at padding.
    """
    counts = (np.asarray(rows.y) >= 0).sum(1)
    mean = float((row_losses(model, variables, rows) * counts).sum() / counts.sum())
    return math.exp(mean) if mean < 700 else math.inf


def trial_losses(model: Model, variables: Variables, trial: Trial) -> RowLosses:
    """Returns the losses of a trial's rows under a model."""
    return RowLosses(
        *(row_losses(model, variables, rows) for rows in (trial.members, trial.nonmembers, trial.calibration))
    )


def membership(target: RowLosses, reference: RowLosses) -> dict[str, float]:
    """Returns the figures of the attacks by the loss and by the ratio to the reference.

    The ratio's threshold is fixed beforehand: the largest tenth of the calibration rows is above it. The false-positive
    rate that it really has is measured on the non-members, beside the recall.

    Args:
      target: losses under the fine-tuned model.
      reference: losses under the pre-trained one.

    >>> low, high = np.zeros(20), np.ones(20)
    >>> figures = membership(RowLosses(low, high, high), RowLosses(high, high, high))
    >>> figures["auc_loss"], figures["auc_reference"], figures["auc_ratio"], figures["recall"], figures["fpr"]
    (1.0, 0.5, 1.0, 1.0, 0.0)
    """
    ratio = RowLosses(*(before - after for before, after in zip(reference, target, strict=True)))
    member = np.repeat([True, False], [len(target.members), len(target.nonmembers)])
    scores = np.concatenate([ratio.members, ratio.nonmembers])
    threshold = np.quantile(ratio.calibration, 0.9)
    return {
        "auc_loss": metrics.roc_auc(-np.concatenate(target[:2]), member),
        "auc_reference": metrics.roc_auc(-np.concatenate(reference[:2]), member),
        "auc_ratio": metrics.roc_auc(scores, member),
        "recall": float((ratio.members > threshold).mean()),
        "fpr": float((ratio.nonmembers > threshold).mean()),
        "tpr1": metrics.tpr_at_fpr(scores, member, 0.01),
    }


def canary_figures(
    model: Model, variables: Variables, canaries: text.canaries.Canaries, tokenizer: text.Tokenizer, length: int
) -> dict[str, float]:
    """Returns the exposure of the canaries of each number of repetitions, and the share that is extracted.

    Exposure by rank ends at log2 of the number of references; the certified one is a lower bound that does not.
    A canary is extracted if greedy decoding of its prefix gives its fill, word by word: exactly if each of the fill's
    tokens is the most likely one after the true tokens before it.

    Args:
      model, variables: a language model.
      canaries: the inserted ones, and references.
      tokenizer: of the model.
      length: tokens of a row at most.
    """
    rows = text.canaries.examples(canaries, tokenizer, length)
    rows = rows._replace(x=_cut(rows), y=_cut(rows, of="y"))
    counts = (np.asarray(rows.y) >= 0).sum(1)
    values = row_losses(model, variables, rows) * counts
    repetitions = np.asarray(canaries.repetitions)
    figures = {}
    for times in np.unique(repetitions[repetitions > 0]).tolist():
        bits = metrics.exposure(values[repetitions == times], values[repetitions == 0])
        figures[f"exposure_{times}"] = float(np.mean(bits))
        certified = metrics.certified_exposure(values[repetitions == times], space(canaries.template.fill))
        figures[f"certified_{times}"] = float(np.mean(certified))
    inserted = np.flatnonzero(repetitions > 0)
    logits = training.predict(model, variables, rows.x[inserted])
    hit = metrics.is_extracted(metrics.greedy_tokens(logits), rows.y[inserted])
    return {**figures, "extracted": float(np.mean(hit))}


def _cut(rows: Examples, of: str = "x") -> np.ndarray:
    """Returns x or y without the columns behind the last token that counts of any row."""
    last = int(np.flatnonzero((np.asarray(rows.y) >= 0).any(0)).max()) + 1
    return np.asarray(getattr(rows, of))[:, :last]
