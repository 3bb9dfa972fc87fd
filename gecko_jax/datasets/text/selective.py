"""Rows for selective privacy: each row once as it is, and once with its sensitive passages replaced by a marker.

Three properties make the guarantee of `training.fit_twice` exact. Tests hold them:

1. Public and sensitive passages are encoded apart, so that no public token depends on a secret beside it.
2. Rows are cut as if every secret had `secret_length` tokens. So the boundaries, the number of rows, and the public
   tokens of all rows are functions of the redacted documents alone.
3. A secret lies in one row. It is cut to `secret_length` tokens, and in the redacted row it is one marker.

Therefore another secret at the same place, of any length, changes one row, and no redacted row.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.datasets.text.documents import Documents, check_users
from gecko_jax.datasets.text.pieces import Piece, cut_rows, encode, fill
from gecko_jax.datasets.text.spans import Policy, all_spans
from gecko_jax.types import Examples
from gecko_jax.user_names import normalized_names

UNITS = ("secret", "document", "user")
IGNORED = -1  # a label that does not count in the loss


class SelectiveRows(NamedTuple):
    """Rows of tokens, with and without their secrets; built by `selective_rows`.

    Attributes:
      tokens: int32 [n, length], the rows as they are, padded on the right.
      redacted: int32 [n, length], the same rows with one marker for each secret.
      place: int32 [n, length], 0 at public tokens and padding of `tokens`, k at those of a row's k-th secret.
      document: int64 [n], the id of each row's document.
      user: [n] names of their authors; None if unknown.
      secrets: for each row, a number for each of its secrets; equal texts have equal numbers.
      cut: how many secrets have been cut to `secret_length` tokens.
      policy: name of the policy.
      padding, marker: token ids.
    """

    tokens: np.ndarray
    redacted: np.ndarray
    place: np.ndarray
    document: np.ndarray
    user: np.ndarray | None
    secrets: tuple[tuple[int, ...], ...]
    cut: int
    policy: str
    padding: int
    marker: int

    def first(self) -> Examples:
        """Returns the redacted rows for a causal model: x [k, length - 1], and y = -1 at padding and at markers.

        Rows in which nothing is left to predict are left out, which depends on the redacted rows alone.
        """
        rows = _causal(self.redacted, self.padding)
        y = np.where(self.redacted[:, 1:] == self.marker, IGNORED, rows.y)
        left = np.flatnonzero((y != IGNORED).any(1))
        return Examples(rows.x[left], y[left], rows.id[left])

    def second(self) -> Examples:
        """Returns the rows as they are for a causal model: x [n, length - 1], and y = -1 at padding."""
        return _causal(self.tokens, self.padding)

    def sensitive_targets(self) -> np.ndarray:
        """Returns which labels of `second` belong to a secret: bool [n, length - 1]."""
        return self.place[:, 1:] > 0

    def users(self) -> np.ndarray:
        """Returns the names of the rows' authors, [n], in one spelling each.

        Raises:
          ValueError: unknown authors, another number of names than of rows, or names of which it is not clear whether
            they are one person: counted as two, nobody would have as many rows as one of them has.
        """
        if self.user is None:
            raise ValueError("rows.user is None: the authors are unknown. Give the documents their users.")
        return normalized_names("rows.user", checks.shape("rows.user", self.user, np.shape(self.document)))

    def rows_per(self, unit: str) -> int:
        """Returns the most rows with a secret that one unit has: what `records` must be for it to be protected.

        Args:
          unit: "secret" (one text, wherever it occurs), "document" (all its secrets) or "user".

        Raises:
          ValueError: an unknown unit, or "user" without users; see `users`.
        """
        checks.one_of("unit", unit, UNITS)
        owner = self.document if unit != "user" else self.users()
        counts: Counter[Any] = Counter()
        for i, numbers in enumerate(self.secrets):
            if numbers:
                counts.update(set(numbers) if unit == "secret" else [owner[i]])
        return max(counts.values(), default=0)


def selective_rows(
    documents: Documents, tokenizer: Any, length: int, policy: Policy, secret_length: int = 16
) -> SelectiveRows:
    """Cuts documents into rows, with and without what a policy calls sensitive.

    A row never spans two documents. A row with fewer than two tokens after redaction is dropped. Documents that were
    cleaned of what others hold (`deduplicate`) depend on each other's secrets: clean the redacted texts alike.

    Args:
      documents: the private documents.
      tokenizer: `encode`, `padding` and `mask`, of a tokenizer that was learned on public text. The mask is the marker.
      length: tokens of a row, at least 2.
      policy: which passages are sensitive.
      secret_length: room for each secret, in tokens; a longer one is cut. At most length - 1.

    Returns:
      SelectiveRows.

    Raises:
      ValueError: an argument out of its bounds, a policy that answers twice in different ways, no row at all, or text
        that holds the ids of padding or marker.

    >>> from gecko_jax.datasets.text import bytes_tokenizer, from_texts
    >>> from gecko_jax.datasets.text.policies import matching
    >>> rows = selective_rows(from_texts(["Bed 12 is free."]), bytes_tokenizer(), 18, matching("[0-9]+"), 4)
    >>> decode = bytes_tokenizer().decode
    >>> decode(rows.tokens[0]), decode(rows.redacted[0]), rows.rows_per("secret")
    ('Bed 12 is free.', 'Bed  is free.', 1)
    >>> rows.first().y.shape, rows.second().y.shape, int(rows.sensitive_targets().sum())
    ((1, 17), (1, 17), 2)
    """
    length = checks.integer("length", length, 2)
    secret_length = checks.integer("secret_length", secret_length, 1)
    checks.in_range("secret_length", secret_length, 1, length - 1)
    check_users(documents)
    padding, marker = int(tokenizer.padding), int(tokenizer.mask)
    rows, numbers, cut = [], {}, 0
    passages = all_spans(policy, documents.text)
    for number, (text, spans) in enumerate(zip(documents.text, passages, strict=True)):
        pieces: list[Piece] = []
        last = 0
        for start, end in [*spans, (len(text), len(text))]:
            pieces += [Piece([token], 1, 0) for token in encode(tokenizer, text[last:start])]
            if secret := text[start:end]:
                tokens = encode(tokenizer, secret) or [marker]
                cut += len(tokens) > secret_length
                name = numbers.setdefault(secret, len(numbers) + 1)
                pieces.append(Piece(tokens[:secret_length], secret_length, name))
            last = end
        rows += [(number, row) for row in cut_rows(pieces, length) if len(row) > 1]
    if not rows:
        raise ValueError(f"documents give no row of two tokens or more; {len(documents.text):,} documents were read.")
    shape = (len(rows), length)
    tokens, redacted, place = (np.full(shape, value, np.int32) for value in (padding, padding, 0))
    for i, (_, row) in enumerate(rows):
        order = np.cumsum([piece.secret > 0 for piece in row])
        places = [int(k) if piece.secret else 0 for k, piece in zip(order, row, strict=True)]
        fill(tokens[i], [token for piece in row for token in piece.tokens])
        fill(redacted[i], [marker if piece.secret else piece.tokens[0] for piece in row])
        fill(place[i], [k for k, piece in zip(places, row, strict=True) for _ in piece.tokens])
    owners = np.array([number for number, _ in rows])
    return SelectiveRows(
        tokens,
        redacted,
        place,
        np.asarray(documents.id)[owners],
        None if documents.user is None else np.asarray(documents.user)[owners],
        tuple(tuple(piece.secret for piece in row if piece.secret) for _, row in rows),
        cut,
        policy.name,
        padding,
        marker,
    )


def _causal(tokens: np.ndarray, padding: int) -> Examples:
    y = np.where(tokens[:, 1:] == padding, IGNORED, tokens[:, 1:])
    return Examples(tokens[:, :-1], y.astype(np.int32))
