"""Checks rows for selective privacy: that no redacted row holds what a policy calls sensitive."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.datasets.text.selective import SelectiveRows


def check_rows(rows: SelectiveRows) -> SelectiveRows:
    """Checks that the redacted rows are the rows with one marker for each secret, and that every row has its owners.

    Args:
      rows: as `selective_rows` built them, or as somebody changed them.

    Raises:
      ValueError: naming the first row of which this is not true; another number of documents, authors or lists of
        secrets than of rows; authors of whom it is not clear whether they are one person.

    >>> from gecko_jax.datasets.text import bytes_tokenizer, from_texts
    >>> from gecko_jax.datasets.text.policies import matching
    >>> from gecko_jax.datasets.text.selective import selective_rows
    >>> rows = selective_rows(from_texts(["Bed 12 is free."]), bytes_tokenizer(), 20, matching("[0-9]+"), 4)
    >>> check_rows(rows._replace(redacted=rows.tokens))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: rows.redacted[0] is not rows.tokens[0] with one marker for each secret: ...
    """
    shape = np.shape(rows.tokens)
    checks.shape("rows.redacted", rows.redacted, shape)
    checks.shape("rows.place", rows.place, shape)
    checks.shape("rows.document", rows.document, shape[:1])
    if rows.user is not None:
        rows.users()
    secrets = np.array([len(numbers) for numbers in rows.secrets])
    checks.shape("rows.secrets", secrets, shape[:1])
    if (wrong := np.flatnonzero(secrets != np.max(rows.place, axis=1, initial=0))).size:
        raise ValueError(
            f"rows.secrets[{wrong[0]}] lists {secrets[wrong[0]]} secrets, and rows.place[{wrong[0]}] marks "
            f"{np.max(rows.place[wrong[0]])}: who has how many of them would be counted wrong. Build both by "
            "selective_rows."
        )
    for i, (tokens, place) in enumerate(zip(rows.tokens, rows.place, strict=True)):
        starts = np.concatenate([[True], place[1:] != place[:-1]])
        marked = np.where(place > 0, rows.marker, tokens)[(place == 0) | starts]
        expected = np.concatenate([marked, np.full(shape[1] - len(marked), rows.padding, marked.dtype)])
        if not np.array_equal(expected, rows.redacted[i]):
            raise ValueError(
                f"rows.redacted[{i}] is not rows.tokens[{i}] with one marker for each secret: the first training "
                "would read what the policy calls sensitive. Build both by selective_rows."
            )
    return rows
