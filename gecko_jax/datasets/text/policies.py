"""Policies: which passages of a text are sensitive, by regular expressions, a list, a function, or known annotations.

    policy = policies.union(policies.matching("[0-9]{3}-[0-9]{4}"), policies.listed(["Ann Lee", "Oakville"]))
    redact("Ann Lee called 555-0199.", policy)                        "<mask> called <mask>.", see redaction.py

What a policy does not find is public: no guarantee of `training.fit_twice` covers it, and `coverage` says how much that
is. A policy is fixed before the data are seen. A list of names that was collected from the documents depends on them,
and then the guarantee does not hold for the names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from gecko_jax import checks
from gecko_jax.datasets.text.documents import Documents
from gecko_jax.datasets.text.spans import Policy, Spans


def matching(*patterns: str, ignore_case: bool = False) -> Policy:
    """Builds the policy that finds what regular expressions match.

    Args:
      *patterns: regular expressions of Python's `re`, searched everywhere in a text.
      ignore_case: whether case is ignored.

    Raises:
      ValueError: no pattern, one that does not compile, or one that matches the empty text.

    >>> from gecko_jax.datasets.text.spans import spans_of
    >>> spans_of(matching(r"[0-9]+"), "room 12, bed 3")
    [(5, 7), (13, 14)]
    """
    checks.not_empty("patterns", patterns)
    rules = []
    for pattern in patterns:
        try:
            rules.append(re.compile(pattern, re.IGNORECASE if ignore_case else 0))
        except (re.error, TypeError) as error:
            raise ValueError(f"patterns: {pattern!r} is not a regular expression: {error}.") from None
        if rules[-1].fullmatch(""):
            raise ValueError(f"patterns: {pattern!r} matches the empty text, and so nothing at all; write + for *.")
    named = ", ".join(repr(pattern) for pattern in patterns)
    return Policy(f"matches of {named}", lambda text: [m.span() for rule in rules for m in rule.finditer(text)], True)


def listed(words: Iterable[str], ignore_case: bool = True) -> Policy:
    """Builds the policy that finds the words and phrases of a list, where no letter or digit touches them.

    Args:
      words: words or phrases, from a public source: see the head of this file.
      ignore_case: whether case is ignored.

    Raises:
      ValueError: no words, or an empty one.

    >>> from gecko_jax.datasets.text.spans import spans_of
    >>> spans_of(listed(["Ann", "Ann Lee"]), "ann lee and Annette")
    [(0, 7)]
    """
    if isinstance(words, str):
        raise ValueError(f"words={words!r} is one word; expected a list. Pass [words] for a single one.")
    phrases = sorted({str(word).strip() for word in words}, key=lambda word: (-len(word), word))
    checks.not_empty("words", phrases)
    if not phrases[-1]:
        raise ValueError("words holds an empty word; leave it out.")
    choices = "|".join(r"\s+".join(re.escape(part) for part in phrase.split()) for phrase in phrases)
    found_by = matching(rf"(?<!\w)(?:{choices})(?!\w)", ignore_case=ignore_case)
    return found_by._replace(name=f"a list of {len(phrases):,} words")


def by_function(find: Callable[[str], Iterable[tuple[int, int]]], name: str | None = None) -> Policy:
    """Builds a policy from a function of yours, such as a tagger of names.

    It must be a pure function of one text, trained on public data. It is asked twice about each text, the second time
    in reverse order, and refused if its answers differ.

    Args:
      find: text -> [(start, end), ...], in characters.
      name: what guarantees call it; None: the name of the function.

    Raises:
      ValueError: something that cannot be called.

    >>> from gecko_jax.datasets.text.spans import spans_of
    >>> spans_of(by_function(lambda text: [(0, 3)], "the first three characters"), "Ann Lee")
    [(0, 3)]
    """
    if not callable(find):
        raise ValueError(f"find={find!r} must be a function text -> [(start, end), ...].")
    return Policy(name or f"the function {getattr(find, '__name__', type(find).__name__)!r}", find)


def annotated(documents: Documents) -> Policy:
    """Builds the policy that finds the known secrets of documents, and refuses any other text.

    The annotations count as a part of the documents: two sets of documents are neighbors only if both are annotated at
    the same places.

    Args:
      documents: with `secrets`.

    Raises:
      ValueError: documents without `secrets`, or one text with two annotations.

    >>> from gecko_jax.datasets.text.documents import Span, from_texts
    >>> from gecko_jax.datasets.text.spans import spans_of
    >>> documents = from_texts(["Ann is ill."])._replace(secrets=((Span(0, 3, "name"),),))
    >>> spans_of(annotated(documents), "Ann is ill.")
    [(0, 3)]
    """
    if documents.secrets is None:
        raise ValueError("documents.secrets is None; expected the sensitive passages of each. Use another policy.")
    known: dict[str, Spans] = {}
    for i, (text, secrets) in enumerate(zip(documents.text, documents.secrets, strict=True)):
        spans = [(span.start, span.end) for span in secrets]
        if known.setdefault(text, spans) != spans:
            raise ValueError(f"documents: the text of document {i} has two different annotations; keep one.")

    def find(text: str) -> Spans:
        if text not in known:
            raise ValueError("the policy knows the secrets of its own documents alone, not of another text.")
        return known[text]

    return Policy("the annotated secrets", find, True)


def union(*policies: Policy) -> Policy:
    """Builds the policy that finds what any of several policies finds.

    Args:
      *policies: at least one.

    Raises:
      ValueError: no policy.

    >>> from gecko_jax.datasets.text.spans import spans_of
    >>> spans_of(union(matching("[0-9]+"), listed(["Ann"])), "Ann, 12")
    [(0, 3), (5, 7)]
    """
    checks.not_empty("policies", policies)

    def find(text: str) -> Spans:
        return [span for policy in policies for span in policy.find(text)]

    return Policy(" and ".join(policy.name for policy in policies), find, all(policy.trusted for policy in policies))
