"""Rows: documents as token rows of one length, for causal and masked language models.

A document of tokens d_0 d_1 ... becomes rows of `length` tokens. The last token of a row is also the first of the
document's next one, so that a causal model predicts each token of a document but d_0 exactly once. Padding is on the
right, and no row holds two documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.datasets.hashing import check_ids, hashes
from gecko_jax.datasets.text.documents import Documents, Span, check_users
from gecko_jax.datasets.text.tokenization import MASK, PADDING, Tokenizer
from gecko_jax.types import Examples

IGNORED = -1  # a target that does not count: losses.sequence_cross_entropy(padding=-1)
ROWS_PER_DOCUMENT = 2**20  # a row's id is its document's id times this, plus the row's place in the document


class Rows(NamedTuple):
    """Token rows of one length.

    Attributes:
      tokens: int32 [n, t], padded with 0 on the right.
      document: int64 [n], the id of the document that a row is of.
      user: text [n], the document's author; None if unknown.
      id: int64 [n], unique; a function of the document's id and of the row's place in it.
      bytes: int64 [n], bytes of UTF-8 of the tokens that a causal model predicts: all of the row but its first.
      offset: int64 [n], bytes of the document before the row's first token.

    >>> from gecko_jax.datasets import text
    >>> rows = text.rows(text.from_texts(["abcde", "xy"]), text.bytes_tokenizer(), length=4)
    >>> rows.tokens.tolist()
    [[100, 101, 102, 103], [103, 104, 0, 0], [123, 124, 0, 0]]
    >>> x, y, _ = rows.causal()
    >>> x[1].tolist(), y[1].tolist(), rows.bytes.tolist()
    ([103, 104, 0], [104, -1, -1], [3, 1, 1])
    >>> x, y, _ = rows.masked(seed=0, rate=0.5)
    >>> int((x == 1).sum()), int((y >= 0).sum())
    (4, 4)
    >>> rows.take([2]).document.tolist()
    [1]
    """

    tokens: np.ndarray
    document: np.ndarray
    user: np.ndarray | None
    id: np.ndarray
    bytes: np.ndarray
    offset: np.ndarray

    def take(self, index: Any) -> Rows:
        """Returns some rows.

        Args:
          index: integers, or bool [n].
        """
        return Rows(*(None if column is None else column[index] for column in self))  # type: ignore[arg-type]

    def causal(self) -> Examples:
        """Returns Examples for a causal model: x = tokens[:, :-1], y = tokens[:, 1:], and -1 at padding."""
        y = self.tokens[:, 1:]
        return Examples(self.tokens[:, :-1], np.where(y == PADDING, IGNORED, y).astype(np.int32), self.id)

    def masked(self, seed: int, rate: float = 0.15, mask: int = MASK) -> Examples:
        """Returns Examples for a masked model: x with masks, y the tokens under them and -1 elsewhere.

        A row's masks are a function of (seed, its id) alone, so that two models are read under the same masks.

        Args:
          seed: at least 0.
          rate: share of a row's tokens that are masked, above 0 and below 1; at least one of each row is.
          mask: the mask's id.

        Raises:
          ValueError: a rate outside of 0..1, or rows that hold the mask already.
        """
        checks.positive("rate", checks.in_range("rate", rate, 0, 1 - 1e-9))
        if (self.tokens == mask).any():
            raise ValueError(f"mask={mask} is a token of the rows; name an id that no text has, tokenizer.mask.")
        length = self.tokens.shape[1]
        order = np.stack([hashes(self.id, seed, "mask", place) for place in range(length)], axis=1)
        real = self.tokens != PADDING
        counts = np.maximum(1, np.round(rate * real.sum(1))).astype(np.int64)
        order[~real] = np.iinfo(np.uint64).max
        ranks = np.argsort(np.argsort(order, axis=1, kind="stable"), axis=1, kind="stable")
        chosen = (ranks < counts[:, None]) & real
        x = np.where(chosen, mask, self.tokens).astype(np.int32)
        return Examples(x, np.where(chosen, self.tokens, IGNORED).astype(np.int32), self.id)


def rows(documents: Documents, tokenizer: Tokenizer, length: int, min_tokens: int = 2) -> Rows:
    """Cuts documents into token rows.

    Args:
      documents: of `from_texts` or of a source.
      tokenizer: text -> ids.
      length: tokens of a row t, at least 2; a causal model sees t - 1 of them.
      min_tokens: shorter rows (the ends of documents) are left out; at least 2, since one token predicts nothing.

    Returns:
      Rows, in the order of the documents.

    Raises:
      ValueError: no row left, ids of documents that are repeated or beyond 2^42, a tokenizer that returns special ids.

    >>> from gecko_jax.datasets import text
    >>> rows(text.from_texts(["abc"]), text.bytes_tokenizer(), 8).tokens.shape
    (1, 8)
    """
    checks.integer("length", length, 2)
    checks.in_range("min_tokens", checks.integer("min_tokens", min_tokens, 2), 2, length)
    check_ids(documents.id)
    check_users(documents)
    if np.abs(documents.id.astype(np.float64)).max(initial=0) >= 2**42:
        raise ValueError("documents have ids of 2^42 or more, which leave no room for their rows; number them afresh.")
    parts, document, place, size, offset = [], [], [], [], []
    for i, text in enumerate(documents.text):
        ids = np.array(tokenizer.encode(text), np.int64)
        if len(ids) and (ids.min() <= PADDING or ids.max() >= tokenizer.vocabulary):
            raise ValueError(
                f"document {documents.id[i]} is encoded as tokens {ids.min()} to {ids.max()}; expected 1 to "
                f"{tokenizer.vocabulary - 1}, because 0 is padding. Mend the tokenizer's encode."
            )
        ends = np.concatenate([[0], np.cumsum(tokenizer.token_bytes[ids])])
        for number, start in enumerate(range(0, max(len(ids) - 1, 0), length - 1)):
            part = ids[start : start + length]
            if len(part) >= min_tokens:
                parts.append(np.pad(part, (0, length - len(part)), constant_values=PADDING))
                document.append(i)
                place.append(number)
                size.append(ends[start + len(part)] - ends[start + 1])
                offset.append(ends[start])
    if not parts:
        raise ValueError(
            f"none of {len(documents.text)} documents has {min_tokens} tokens; expected texts of some sentences. "
            "Lower min_tokens if they are that short."
        )
    of = documents.id[document]
    users = None if documents.user is None else documents.user[document]
    numbers = of * ROWS_PER_DOCUMENT + np.array(place, np.int64)
    tokens = np.stack(parts).astype(np.int32)
    return Rows(tokens, of, users, numbers, np.array(size, np.int64), np.array(offset, np.int64))


def sensitive_tokens(
    rows: Rows, documents: Documents, tokenizer: Tokenizer, spans: Sequence[Sequence[Span]] | None = None
) -> np.ndarray:
    """Marks the tokens that stand for any character of a sensitive passage.

    Args:
      rows: of `rows(documents, tokenizer, ...)`, or some of them.
      documents: that the rows were cut from.
      tokenizer: that cut them.
      spans: the sensitive passages of each document; None: `documents.secrets`.

    Returns:
      bool [n, t], False at padding.

    Raises:
      ValueError: no passages, another number of them than documents, one outside its document, or rows of other
        documents.

    >>> from gecko_jax.datasets import text
    >>> documents, tokenizer = text.from_texts(["my pin: 42"]), text.bytes_tokenizer()
    >>> marks = sensitive_tokens(text.rows(documents, tokenizer, 12), documents, tokenizer, [[Span(8, 10, "pin")]])
    >>> marks.astype(int).tolist()
    [[0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0]]
    """
    spans = documents.secrets if spans is None else spans
    if spans is None or len(spans) != len(documents.text):
        count = "no" if spans is None else f"{len(spans)} lists of"
        raise ValueError(f"{count} sensitive passages for {len(documents.text)} documents; give spans, one list each.")
    places = {int(name): i for i, name in enumerate(documents.id)}
    ends = np.cumsum(tokenizer.token_bytes[rows.tokens], axis=1) + rows.offset[:, None]
    starts = ends - tokenizer.token_bytes[rows.tokens]
    marks = np.zeros(rows.tokens.shape, bool)
    of_bytes: dict[int, list[tuple[int, int]]] = {}
    for row, name in enumerate(rows.document.tolist()):
        if name not in places:
            raise ValueError(f"document {name} of the rows is not among the documents; pass those they were cut from.")
        if name not in of_bytes:
            of_bytes[name] = _in_bytes(documents.text[places[name]], spans[places[name]])
        for start, end in of_bytes[name]:
            marks[row] |= (starts[row] < end) & (ends[row] > start)
    return marks & (rows.tokens != PADDING)


def _in_bytes(text: str, spans: Sequence[Span]) -> list[tuple[int, int]]:
    """Returns passages as places in the bytes of UTF-8."""
    for span in spans:
        if not 0 <= span[0] <= span[1] <= len(text):
            raise ValueError(f"the passage {tuple(span)} lies outside its document of {len(text)} characters.")
    if text.isascii():
        return [(span[0], span[1]) for span in spans]
    ends = np.concatenate([[0], np.cumsum([len(character.encode()) for character in text])])
    return [(int(ends[span[0]]), int(ends[span[1]])) for span in spans]
