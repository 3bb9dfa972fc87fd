"""Policies find passages; what they do not find is counted, and a policy that is not a function is refused."""

import re

import numpy as np
import pytest

from gecko_jax.datasets.text import Span, from_texts
from gecko_jax.datasets.text.policies import annotated, by_function, listed, matching, union
from gecko_jax.datasets.text.redaction import coverage, redact
from gecko_jax.datasets.text.spans import all_spans, spans_of

WORDS = ["Ann", "Ann Lee", "Oakville", "c++", "O'Neil"]


def marked(text, spans):
    """bool [characters]: a naive picture of passages."""
    marks = np.zeros(len(text), bool)
    for start, end in spans:
        marks[start:end] = True
    return marks


def test_passages_are_joined_as_a_picture_of_them_is():
    rng = np.random.default_rng(0)
    for _ in range(50):
        text = "x" * 20
        spans = [tuple(sorted(rng.choice(21, 2, replace=False).tolist())) for _ in range(rng.integers(0, 6))]
        joined = spans_of(by_function(lambda _, spans=spans: spans), text)
        np.testing.assert_array_equal(marked(text, joined), marked(text, spans))
        assert all(later > end for (_, end), (later, _) in zip(joined, joined[1:], strict=False))
        expected = re.sub("1+", "<mask>", "".join("1" if mark else "x" for mark in marked(text, spans)))
        assert redact(text, by_function(lambda _, spans=spans: spans)) == expected


@pytest.mark.parametrize(
    "text, redacted",
    [
        ("Ann Lee and Annette", "# and Annette"),
        ("ANN  LEE, (Ann)", "#, (#)"),
        ("c++ and O'Neil's", "# and #'s"),
        ("Oakvilleans", "Oakvilleans"),
        ("", ""),
    ],
)
def test_a_list_finds_words_and_phrases(text, redacted):
    assert redact(text, listed(WORDS), "#") == redacted


def test_several_policies_find_what_any_of_them_finds():
    both = union(matching(r"\d+", "[a-z]+@[a-z]+"), listed(["Ann"], ignore_case=False))
    assert redact("Ann ann 12 x@y", both, "#") == "# ann # #" and both.trusted
    assert not union(both, by_function(lambda text: [])).trusted


def test_annotations_are_the_documents_own():
    documents = from_texts(["Ann is ill.", "Bo is well."])._replace(secrets=((Span(0, 3, "name"),), ()))
    assert all_spans(annotated(documents), documents.text) == [[(0, 3)], []]
    with pytest.raises(ValueError, match="its own documents alone"):
        spans_of(annotated(documents), "Another.")
    with pytest.raises(ValueError, match="two different annotations"):
        annotated(documents._replace(text=("Same.", "Same.")))


def test_what_a_policy_misses_is_counted():
    documents = from_texts(["Ann Lee, 41, 555"])._replace(
        secrets=((Span(0, 7, "name"), Span(9, 11, "age"), Span(13, 16, "phone")),)
    )
    counts = coverage(union(listed(["Lee"]), matching(r"\d{3}")), documents)
    assert (counts.complete, counts.partial, counts.missed, counts.total) == (1, 1, 1, 3)
    assert counts.by_kind == {"name": (0, 1), "age": (0, 1), "phone": (1, 1)}
    assert "finds 1 of 3 known secrets" in str(counts)
    with pytest.raises(ValueError, match="documents.secrets is None"):
        coverage(matching("a"), from_texts(["a"]))


def test_a_policy_that_remembers_is_refused():
    """It calls a name sensitive only where it has seen it before: its answer on one text depends on the others."""
    seen = set()

    def find(text):
        spans = [m.span() for m in re.finditer(r"[A-Z]\w+", text) if m[0] in seen]
        seen.update(re.findall(r"[A-Z]\w+", text))
        return spans

    with pytest.raises(ValueError, match="must be a pure function of one text"):
        all_spans(by_function(find), ["Ann came", "Ann left"])


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: matching(), "patterns is empty"),
        (lambda: matching("(a"), "not a regular expression"),
        (lambda: matching(r"\d*"), "matches the empty text"),
        (lambda: listed("Ann"), "is one word"),
        (lambda: listed(["a", " "]), "empty word"),
        (lambda: listed([]), "words is empty"),
        (lambda: by_function("Ann"), "must be a function"),
        (lambda: union(), "policies is empty"),
        (lambda: annotated(from_texts(["a"])), "documents.secrets is None"),
        *((lambda span=span: spans_of(by_function(lambda _: [span]), "abc"), "expected .start, end.")
          for span in [(2, 2), (-1, 2), (1, 4), (0, 1.5), 3, ("a", "b")]),
    ],
)  # fmt: skip
def test_bad_policies_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
