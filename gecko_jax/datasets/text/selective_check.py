"""Checks rows for selective privacy: that no redacted row holds what a policy calls sensitive."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.datasets.text.selective import SelectiveRows


def check_rows(rows: SelectiveRows) -> SelectiveRows:
    """Checks that the redacted rows are the rows with one marker for each secret, and nothing else.

    Args:
      rows: as `selective_rows` built them, or as somebody changed them.

    Raises:
      ValueError: naming the first row of which this is not true.

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
