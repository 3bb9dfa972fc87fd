"""Splits by document, or by author: never by row, because the rows of one document tell of each other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gecko_jax import checks
from gecko_jax.datasets.hashing import check_ids, ranks
from gecko_jax.datasets.text.documents import Documents
from gecko_jax.digests import short
from gecko_jax.user_names import normalized_names


def split(documents: Documents, shares: Mapping[str, float], seed: int, by: str = "document") -> dict[str, Documents]:
    """Splits documents at random into disjoint parts.

    Which part a document goes to is a function of (seed, the ids of all documents), whatever their order.

    Args:
      documents: at least one for each part.
      shares: {name of a part: its share of the documents, above 0}, 1 in sum at most; what is left goes to none.
      seed: at least 0.
      by: "document", or "user": all documents of an author go to one part, and the parts' sizes are then near their
        shares only.

    Returns:
      {name: Documents}, each in the order of `documents`.

    Raises:
      ValueError: shares above 1 in sum, a part without a document, repeated ids, or by="user" without users.

    >>> from gecko_jax.datasets import text
    >>> parts = split(text.from_texts(map(str, range(10))), {"members": 0.5, "nonmembers": 0.5}, seed=0)
    >>> len(parts["members"].text), set(parts["members"].text) & set(parts["nonmembers"].text)
    (5, set())
    """
    checks.one_of("by", by, ("document", "user"))
    checks.not_empty("shares", shares)
    for name, share in shares.items():
        checks.positive(f"shares[{name!r}]", share)
    if sum(shares.values()) > 1 + 1e-9:
        raise ValueError(f"shares={dict(shares)} are {sum(shares.values()):g} in sum; expected 1 at most.")
    count = len(check_ids(documents.id))
    if count < 2 and len(shares) > 1:
        raise ValueError(
            f"{count} document cannot be split into {', '.join(shares)}: rows of one document tell of each other. Pass "
            "more documents: one a file, a mail or a line of JSON, or one a chapter."
        )
    if by == "user":
        if documents.user is None:
            raise ValueError('by="user" needs documents with users; pass by="document", or name their authors.')
        places = _by_user(documents, seed)
    else:
        places = (ranks(documents.id, seed, "split") + 0.5) / count
    ends = np.cumsum(list(shares.values()))
    parts = {}
    for name, start, end in zip(shares, [0.0, *ends[:-1]], ends, strict=True):
        chosen = (places >= start) & (places < (end if end < 1 - 1e-9 else 2))
        if not chosen.any():
            raise ValueError(f"the part {name!r} of {shares[name]:g} of {count} documents is empty; raise its share.")
        parts[name] = documents.take(chosen)
    return parts


def _by_user(documents: Documents, seed: int) -> np.ndarray:
    """Returns the place in 0..1 of each document's author: authors in random order, each as wide as their documents."""
    owners = normalized_names("documents.user", documents.user)  # they may have been replaced since they were read
    users, of, sizes = np.unique(owners, return_inverse=True, return_counts=True)
    names = np.array([int.from_bytes(short(name.encode(), 8), "little", signed=True) for name in users.tolist()])
    order = np.argsort(ranks(names, seed, "split users"))
    ends = np.empty(len(users))
    ends[order] = np.cumsum(sizes[order])
    return ((ends - sizes / 2) / len(documents.text))[of.reshape(-1)]
