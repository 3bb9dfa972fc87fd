"""Redaction: sensitive passages replaced by a marker, and how many known secrets a policy finds.

Replacing hides what stands at a place, not that something stands there.
"""

from __future__ import annotations

from typing import NamedTuple

from gecko_jax.datasets.text.documents import Documents
from gecko_jax.datasets.text.spans import Policy, all_spans, spans_of

MARKER = "<mask>"


def redact(text: str, policy: Policy, marker: str = MARKER) -> str:
    """Replaces each sensitive passage by one marker, whatever its length.

    Args:
      text: one document.
      policy: which passages are sensitive.
      marker: what stands in their place.

    >>> from gecko_jax.datasets.text.policies import listed, matching, union
    >>> redact("Call Ann: 555-0199", union(matching("[0-9-]{3,}"), listed(["Ann"])))
    'Call <mask>: <mask>'
    """
    parts, last = [], 0
    for start, end in spans_of(policy, text):
        parts += [text[last:start], marker]
        last = end
    return "".join(parts) + text[last:]


class Coverage(NamedTuple):
    """How many known secrets a policy finds.

    Attributes:
      complete: how many lie in what it finds, from their first character to their last.
      partial: how many lie in it in part; the rest of each is public.
      missed: how many it does not find at all.
      by_kind: {kind: (complete, total)}.
    """

    complete: int
    partial: int
    missed: int
    by_kind: dict[str, tuple[int, int]]

    @property
    def total(self) -> int:
        """Returns the number of known secrets."""
        return self.complete + self.partial + self.missed

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind} {found:,}/{total:,}" for kind, (found, total) in sorted(self.by_kind.items()))
        return (
            f"the policy finds {self.complete:,} of {self.total:,} known secrets ({kinds}); {self.partial:,} in part, "
            f"{self.missed:,} not at all: these are public to it (counted)"
        )


def coverage(policy: Policy, documents: Documents) -> Coverage:
    """Counts how many known secrets of documents a policy finds: what it misses, no guarantee covers.

    Args:
      policy: the policy on trial.
      documents: with `secrets`, such as made notes, or a sample that somebody has annotated.

    Raises:
      ValueError: documents without `secrets`.

    >>> from gecko_jax.datasets.text.documents import Span, from_texts
    >>> from gecko_jax.datasets.text.policies import matching
    >>> documents = from_texts(["Ann, 41"])._replace(secrets=((Span(0, 3, "name"), Span(5, 7, "age")),))
    >>> coverage(matching("[0-9]+"), documents).by_kind, coverage(matching("[0-9]+"), documents).total
    ({'name': (0, 1), 'age': (1, 1)}, 2)
    """
    if documents.secrets is None:
        raise ValueError("documents.secrets is None; expected the sensitive passages of each, to count what is found.")
    counts = [0, 0, 0]
    by_kind: dict[str, tuple[int, int]] = {}
    for secrets, spans in zip(documents.secrets, all_spans(policy, documents.text), strict=True):
        for secret in secrets:
            inside = sum(max(0, min(end, secret.end) - max(start, secret.start)) for start, end in spans)
            outcome = 0 if inside == secret.end - secret.start else 1 if inside else 2
            counts[outcome] += 1
            complete, total = by_kind.get(secret.kind, (0, 0))
            by_kind[secret.kind] = (complete + (outcome == 0), total + 1)
    return Coverage(counts[0], counts[1], counts[2], by_kind)
