"""Copied passages: what of a model's generated texts stands in its training documents, word for word."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.metrics.token_values import as_tokens
from gecko_jax.types import Array


class CopiedPassages(NamedTuple):
    """Passages of one length that a model generated and that stand in its training rows.

    Attributes:
      passages: int64 [k, length], different ones, in order of their tokens.
      documents: int64 [k], in how many training documents each stands: `eidetic_counts(np.ones(k, bool), documents)`.
      generated: int64 [k], how often each was generated.
      windows: number of different passages that were generated, copied or not.
    """

    passages: np.ndarray
    documents: np.ndarray
    generated: np.ndarray
    windows: int


def copied_passages(
    generated: Array, tokens: Array, length: int, document: Array | None = None, public: Array | None = None,
    padding: int = 0,
) -> CopiedPassages:  # fmt: skip
    """Finds the passages of `length` tokens that were generated and stand in the training rows.

    Generate from prompts that are not of the training text: what follows one that is, `probes.discoverable` tells.
    Passages that cross two rows are not found.

    Args:
      generated: int [g, s] generated tokens.
      tokens: int [n, t] training rows.
      length: tokens of a passage, at least 2. A short one is found by chance, or because it is common.
      document: [n] the document of each row; None: each row is one.
      public: int [p, u] rows of public text, whose passages are left out; None: no such text.
      padding: the token that fills rows; passages with it do not count.

    Returns:
      CopiedPassages.

    Raises:
      ValueError: other shapes or types, or a length below 2 or above that of every row.

    Source: Carlini et al., "Extracting Training Data from Large Language Models" (2021), sec. 5, without its search.

    >>> train = [[5, 6, 7, 8], [9, 6, 7, 0]]
    >>> copies = copied_passages([[1, 6, 7, 8]], train, length=2)
    >>> copies.passages.tolist(), copies.documents.tolist(), copies.windows
    ([[6, 7], [7, 8]], [2, 1], 3)
    """
    checks.integer("length", length, 2)
    windows, _ = _windows("generated", generated, length, padding)
    theirs, places = _windows("tokens", tokens, length, padding)
    names = np.arange(len(tokens)) if document is None else np.asarray(checks.unmasked("document", document))
    checks.shape("document", names, np.shape(tokens)[:1])
    passages, times = np.unique(windows, axis=0, return_counts=True)
    known = np.zeros(count := len(passages), bool)
    if public is not None:
        known = _found(passages, _windows("public", public, length, padding)[0])[0]
    _, place, match = _found(passages, theirs)
    of_document = np.unique(names, return_inverse=True)[1].reshape(-1)[places[place]]
    pairs = np.unique(np.stack([match, of_document], 1), axis=0) if len(match) else np.zeros((0, 2), np.int64)
    documents = np.bincount(pairs[:, 0], minlength=count).astype(np.int64)
    chosen = (documents > 0) & ~known
    return CopiedPassages(passages[chosen], documents[chosen], times[chosen].astype(np.int64), count)


def _windows(name: str, tokens: Array, length: int, padding: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns all windows [w, length] without padding, and the row of each [w]."""
    tokens = as_tokens(name, tokens).astype(np.int64)
    if tokens.shape[1] < length:
        raise ValueError(f"{name} has rows of {tokens.shape[1]} tokens; expected at least length={length}. Shorten it.")
    windows = np.lib.stride_tricks.sliding_window_view(tokens, length, axis=1)
    full = (windows != padding).all(-1)
    return windows[full], np.nonzero(full)[0]


def _found(passages: np.ndarray, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns whether each passage is among windows [k]; places in windows, and in passages, of each pair of equals.

    Pairs of equal sums under random 64-bit weights are compared token by token, so that none is taken for another one.
    """
    weights = np.random.default_rng(0).integers(2**64, size=passages.shape[1], dtype=np.uint64)
    keys, sums = (part.astype(np.uint64) @ weights for part in (passages, windows))
    order = np.argsort(keys, kind="stable")
    first, last = (np.searchsorted(keys[order], sums, side) for side in ("left", "right"))
    place = np.repeat(np.arange(len(windows)), last - first)
    offset = np.arange(len(place)) - np.repeat(np.cumsum(last - first) - (last - first), last - first)
    match = order[np.repeat(first, last - first) + offset]
    same = (passages[match] == windows[place]).all(1)
    return np.isin(np.arange(len(passages)), match[same]), place[same], match[same]
