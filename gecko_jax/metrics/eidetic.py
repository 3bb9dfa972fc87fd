"""k-eidetic memorization: texts that a model gives back, by the number of documents that they occur in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.metrics.extraction_rates import as_hits, extraction_rate
from gecko_jax.types import Array, Estimate

EIDETIC_LIMITS = (1, 2, 5, 10, 25)  # documents that a text occurs in, at most


class EideticCount(NamedTuple):
    """How many of the texts that occur in 1 to k documents were extracted.

    Attributes:
      k: documents, at most.
      extracted: how many texts were.
      texts: of how many.
      rate: the share, with its Clopper-Pearson interval; None without such texts.
    """

    k: int
    extracted: int
    texts: int
    rate: Estimate | None


def eidetic_counts(
    extracted: Array, documents: Array, k: Sequence[int] = EIDETIC_LIMITS, confidence: float = 0.95
) -> tuple[EideticCount, ...]:
    """Counts the k-eidetic memorized texts: those that are extracted and occur in at most k training documents.

    The smaller k, the worse: few people know a text that one document has. Texts in 0 documents are left out.

    Args:
      extracted: [n] bool.
      documents: [n] in how many documents each text occurs, such as `count_documents` returns.
      k: limits, each at least 1.
      confidence: of the intervals.

    Returns:
      An EideticCount for each k.

    Raises:
      ValueError: other shapes, counts that are not integers of at least 0, or a k below 1.

    Source: Carlini et al., "Extracting Training Data from Large Language Models" (2021), definition 2.

    >>> [count[:3] for count in eidetic_counts([True, True, False], [1, 30, 2], k=(1, 2, 50))]
    [(1, 1, 1), (2, 1, 2), (50, 2, 3)]
    """
    hits = as_hits(extracted)
    documents = checks.shape("documents", np.asarray(checks.unmasked("documents", documents)), hits.shape)
    if documents.dtype.kind not in "iu" or documents.min() < 0:
        raise ValueError(f"documents has dtype {documents.dtype}, from {documents.min()}; expected integers >= 0.")
    counts = []
    for limit in checks.sizes("k", k, "documents that a text occurs in, at most"):
        chosen = hits[(documents >= 1) & (documents <= limit)]
        rate = extraction_rate(chosen, confidence) if len(chosen) else None
        counts.append(EideticCount(limit, int(chosen.sum()), len(chosen), rate))
    return tuple(counts)


def count_documents(texts: Iterable[str], documents: Iterable[str]) -> np.ndarray:
    """Counts in how many documents each text occurs, word for word; several times in one document count once.

    Args:
      texts: k texts, none of them empty.
      documents: the training texts.

    Returns:
      int64 [k].

    Raises:
      ValueError: an empty text, or one text instead of several.

    >>> count_documents(["a b", "c"], ["a b, a b", "b c", "a  b"]).tolist()
    [1, 1]
    """
    for name, value in (("texts", texts), ("documents", documents)):
        if isinstance(value, (str, bytes)):
            raise ValueError(f"{name} is one text; expected several, such as [{value[:20]!r}].")
    texts, documents = list(texts), list(documents)
    if "" in texts:
        raise ValueError(f"texts[{texts.index('')}] is empty, and occurs everywhere; leave it out.")
    return np.array([sum(text in document for document in documents) for text in texts], np.int64)
