"""The records of a language model as a classifier without the model reads them: which tokens, and how many."""

from __future__ import annotations

from typing import Any

import numpy as np

from gecko_jax import checks
from gecko_jax.types import Array


def bag_of_tokens(tokens: Array, padding: int = 0) -> Any:
    """Counts each row's tokens: the features of the blind baseline, which knows the records and no model.

    Texts of another time, author or topic have other words. An audit of texts starts with this baseline, because on
    many published sets it does better than the attacks do.

    Args:
      tokens: int [n, t].
      padding: a token that does not count.

    Returns:
      float32 [n, largest token + 1], a sparse matrix (scipy.sparse, CSR): `records=Examples(bag_of_tokens(...), None)`
      of `audit.from_signals`.

    Raises:
      ValueError: tokens of another shape or type, or negative ones.

    Source: Das, Zhang and Tramer, "Blind Baselines Beat Membership Inference Attacks for Foundation Models" (2024).

    >>> bag_of_tokens([[3, 1, 3], [2, 0, 0]]).toarray().astype(int).tolist()
    [[0, 1, 0, 2], [0, 0, 1, 0]]
    """
    from scipy import sparse

    tokens = checks.not_empty("tokens", checks.shape("tokens", np.asarray(tokens), (None, None)))
    if tokens.dtype.kind not in "iu" or tokens.min() < 0:
        raise ValueError(f"tokens has dtype {tokens.dtype}, from {tokens.min()}; expected tokens of at least 0.")
    rows, places = np.nonzero(tokens != padding)
    columns = tokens[rows, places]
    shape = len(tokens), int(tokens.max()) + 1
    return sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)  # equal places add up
