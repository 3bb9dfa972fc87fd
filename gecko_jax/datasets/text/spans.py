"""Sensitive passages of texts, as a policy finds them: checked, sorted, joined."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from gecko_jax import checks

Spans = list[tuple[int, int]]


class Policy(NamedTuple):
    """A rule that finds the sensitive passages of a text.

    Attributes:
      name: what guarantees call it.
      find: text -> [(start, end), ...], a pure function; `spans_of` checks, sorts and joins its answer.
      trusted: whether `find` is known to be a pure function. One that is not is asked twice about each text.
    """

    name: str
    find: Callable[[str], Iterable[tuple[int, int]]]
    trusted: bool = False


def spans_of(policy: Policy, text: str) -> Spans:
    """Returns the sensitive passages of a text: sorted, and joined if they overlap or touch.

    Args:
      policy: the policy.
      text: one document.

    Returns:
      [(start, end), ...] in characters, with a public character between any two.

    Raises:
      ValueError: a policy that answers with something else than places in the text.

    >>> spans_of(Policy("mine", lambda text: [(4, 6), (0, 2), (1, 4)]), "abcdefgh")
    [(0, 6)]
    """
    joined: Spans = []
    for start, end in sorted(_checked(policy, span, len(text)) for span in policy.find(text)):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def all_spans(policy: Policy, texts: Sequence[str]) -> list[Spans]:
    """Returns `spans_of` each text, after asking a policy of yours twice.

    Args:
      policy: the policy.
      texts: the documents.

    Raises:
      ValueError: a policy whose two answers about a text differ; see `spans_of`.

    >>> all_spans(Policy("the first character", lambda text: [(0, 1)]), ["1 and 2", "none"])
    [[(0, 1)], [(0, 1)]]
    """
    spans = [spans_of(policy, text) for text in texts]
    if not policy.trusted:
        for i in range(len(texts) - 1, -1, -1):
            if (again := spans_of(policy, texts[i])) != spans[i]:
                raise ValueError(
                    f"policy {policy.name} found {spans[i]} in texts[{i}] and then {again}: it must be a pure function "
                    "of one text, because what it reveals about others is not protected. Fix its seed, drop its state."
                )
    return spans


def _checked(policy: Policy, span: Any, length: int) -> tuple[int, int]:
    try:
        start, end = (checks.integer("span", value, 0) for value in span)
        if start < end <= length:
            return start, end
    except (TypeError, ValueError):
        pass
    raise ValueError(
        f"policy {policy.name} returned {span!r} for a text of {length} characters; expected (start, end) with "
        "0 <= start < end <= length, in characters."
    )
