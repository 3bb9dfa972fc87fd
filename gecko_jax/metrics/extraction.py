"""Extraction: how much of its training text a language model gives back, word for word.

A text is *extracted* if the model continues a prompt by it. What greedy decoding gives needs no generation to be
known: by induction, it is the true continuation exactly if each true token is the likeliest one after the true tokens
before it, which one forward pass shows (`greedy_tokens`). What sampling gives in any number of draws has a closed form
(`sampled_extraction`). Generation itself (`models.generate`) shows the same, and is what the tests compare with.
"""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.metrics.token_values import as_tokens, counted_losses
from gecko_jax.types import Array


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
