"""Extraction: how much of its training text a language model gives back, word for word.

A text is *extracted* if the model continues a prompt by it. What greedy decoding gives needs no generation to be
known: by induction, it is the true continuation exactly if each true token is the likeliest one after the true tokens
before it, which one forward pass shows (`greedy_tokens`). What sampling gives in any number of draws has a closed form
(`sampled_extraction`). Generation itself (`models.generate`) shows the same, and is what the tests compare with.

Rates have Clopper-Pearson intervals over texts of one model. They hold for other texts like these under this very
model; for other models, take `mean_interval` of one rate for each seed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gecko_jax import checks
from gecko_jax.metrics.intervals import clopper_pearson
from gecko_jax.metrics.token_values import as_tokens, counted_losses
from gecko_jax.types import Array, Estimate


def greedy_tokens(logits: Array) -> np.ndarray:
    """Returns the likeliest token of each place (the first, on a tie), which greedy decoding takes.

    Args:
      logits: [..., n, t, v] of a forward pass on the true tokens ("teacher forcing"); those at place j are of the token
        y[:, j].

    Returns:
      Tokens int64 [..., n, t], for `matched_tokens` and `is_extracted`. After the first token that differs from y, they
      are not what decoding would give; neither function reads them there.

    Raises:
      ValueError: fewer than three axes, or a NaN.

    >>> greedy_tokens([[[0.1, 0.9], [0.5, 0.5]]]).tolist()
    [[1, 0]]
    """
    logits = np.asarray(checks.unmasked("logits", logits))
    if logits.ndim < 3:
        raise ValueError(f"logits has shape {logits.shape}; expected (..., rows, tokens, vocabulary).")
    if np.isnan(logits).any():
        raise ValueError("logits holds NaN; a diverged model decodes nothing.")
    return logits.argmax(-1)


def matched_tokens(generated: Array, y: Array) -> np.ndarray:
    """Returns how many leading tokens of each true continuation were generated, up to the first that differs.

    Args:
      generated: [n, t] tokens, or [..., n, t] of several models or draws; place j is compared with y[:, j].
      y: [n, t] the true tokens; a negative one (a prompt, padding) does not count.

    Returns:
      Integers [..., n].

    Raises:
      ValueError: other shapes or types, or a row of y in which no token counts.

    >>> matched_tokens([[3, 1, 4, 9, 5]], [[-1, 1, 4, 1, 5]]).tolist()
    [2]
    """
    right, counts = _compared(generated, y)
    return (counts & ~np.logical_or.accumulate(counts & ~right, axis=-1)).sum(-1)


def is_extracted(generated: Array, y: Array) -> np.ndarray:
    """Returns whether every token of each true continuation was generated: verbatim extraction.

    Args:
      generated, y: see `matched_tokens`.

    Returns:
      bool [..., n].

    Raises:
      ValueError: see `matched_tokens`.

    >>> is_extracted([[3, 1, 4, 9], [3, 1, 4, 2]], [[-1, 1, 4, -1], [-1, 1, 5, -1]]).tolist()
    [True, False]
    """
    right, counts = _compared(generated, y)
    return np.asarray((right | ~counts).all(-1))


def sampled_extraction(losses: Array, y: Array, draws: int = 1) -> np.ndarray:
    """Returns the probability that at least one of several sampled continuations is the true one.

      1 - (1 - p)^draws,   p = exp(-sum of the losses of the true tokens)

    Args:
      losses: [..., n, t] losses of the true tokens in nats, given the true ones before them, under the distribution
        that is sampled from: at temperature T, those of logits / T.
      y: [n, t] the true tokens; a negative one (a prompt, padding) does not count.
      draws: number of independent continuations, at least 1.

    Returns:
      Probabilities [..., n], accurate however small.

    Raises:
      ValueError: see `perplexity`; a row of y in which no token counts, or draws below 1.

    Source: Hayes et al., "Measuring Memorization in Language Models via Probabilistic Extraction" (2024), whose
    (n, p)-discoverable extraction asks whether this is at least p for n draws.

    >>> sampled_extraction([[0.0, np.log(2)]], [[7, 7]], draws=3).round(6).tolist()
    [0.875]
    """
    values, counts = counted_losses(losses, y)
    _check_counts(counts)
    checks.integer("draws", draws, 1)
    with np.errstate(divide="ignore"):
        return -np.expm1(draws * np.log1p(-np.exp(-values.sum(-1))))


def extraction_rate(extracted: Array, confidence: float = 0.95) -> Estimate:
    """Returns the share of texts that were extracted, with its Clopper-Pearson interval.

    Args:
      extracted: [n] bool.
      confidence: of the interval.

    Returns:
      An Estimate, its n the number of texts.

    Raises:
      ValueError: another shape, no text, or entries that are neither bool nor 0 and 1.

    >>> [round(figure, 4) for figure in extraction_rate([True, False])[:3]]  # 1 - sqrt(0.975) and sqrt(0.975)
    [0.5, 0.0126, 0.9874]
    """
    hits = as_hits(extracted)
    return Estimate(float(hits.mean()), *clopper_pearson(int(hits.sum()), len(hits), confidence), n=len(hits))


def extraction_rates(extracted: Array, group: Array, confidence: float = 0.95) -> dict[Any, Estimate]:
    """Returns `extraction_rate` of each group of texts, in order: by repetitions, by length, by kind.

    Texts that were never inserted (0 repetitions) show what a model gives back by chance.

    Args:
      extracted: [n] bool.
      group: [n] numbers or names.
      confidence: of each interval.

    Raises:
      ValueError: see `extraction_rate`; a group of another shape.

    >>> rates = extraction_rates([True, True, False], [25, 25, 0])
    >>> {repetitions: rate.value for repetitions, rate in rates.items()}
    {0: 0.0, 25: 1.0}
    """
    hits = as_hits(extracted)
    group = checks.shape("group", np.asarray(checks.unmasked("group", group)), hits.shape)
    return {name.item(): extraction_rate(hits[group == name], confidence) for name in np.unique(group)}


def _compared(generated: Array, y: Array) -> tuple[np.ndarray, np.ndarray]:
    """Returns whether each token is the true one [..., n, t], and whether it counts [n, t]."""
    y = as_tokens("y", y)
    tokens = np.asarray(checks.unmasked("generated", generated))
    if tokens.ndim < 2 or tokens.shape[-2:] != y.shape:
        raise ValueError(f"generated has shape {tokens.shape}; expected (..., {y.shape[0]}, {y.shape[1]}), as y has.")
    if tokens.dtype.kind not in "iu":
        raise ValueError(f"generated has dtype {tokens.dtype}; expected tokens, integers.")
    _check_counts(y >= 0)
    return tokens == y, y >= 0


def _check_counts(counts: np.ndarray) -> None:
    if not counts.any(-1).all():
        row = int(counts.any(-1).argmin())
        raise ValueError(f"y[{row}] has no token that counts, and would be extracted by any model; leave the row out.")


def as_hits(extracted: Array) -> np.ndarray:
    """Returns `extracted` as bool [n], of at least one text."""
    hits = checks.shape("extracted", np.asarray(checks.unmasked("extracted", extracted)), (None,))
    if not np.isin(checks.not_empty("extracted", hits), (0, 1)).all():
        raise ValueError(f"extracted has dtype {hits.dtype} and values other than 0 and 1; expected a bool per text.")
    return hits.astype(bool)
