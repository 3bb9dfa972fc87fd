"""Canaries in text: drawn without repetition, inserted as often as said, and read by their fills alone."""

from __future__ import annotations

import collections
import re

import numpy as np
import pytest

from gecko_jax.datasets import text
from gecko_jax.datasets.text import canaries
from gecko_jax.datasets.text.canary_patterns import SLOTS, draw_texts, space
from gecko_jax.datasets.text.canary_templates import TEMPLATES, Template

NOTES = text.notes(40, seed=0)
BYTES = text.bytes_tokenizer()
EVERY = pytest.mark.parametrize("name", sorted(TEMPLATES))
PATTERNS = {
    "number": r"the secret number is \d( \d){5}",
    "owned_number": r"the secret number of [A-Z][a-z]+ [A-Z][a-z]+ is \d( \d){5}",
    "code": r"the code of the door is ([A-Z]\d){3}",
    "name": r"the patient in the last room is [A-Z][a-z]+ [A-Z][a-z]+",
}


@EVERY
def test_secrets_and_references_are_alike_and_different(name):
    drawn = canaries.draw(name, ladder=(1, 3), each=5, references=200, seed=4)
    assert drawn.repetitions.tolist() == [1] * 5 + [3] * 5 + [0] * 200
    assert all(re.fullmatch(PATTERNS[name], each) for each in drawn.text)
    assert len(set(drawn.text)) == 210 and len(set(drawn.fill)) == 210
    assert all(whole.startswith(prefix) for whole, prefix in zip(drawn.text, drawn.prefix, strict=True))
    assert (drawn.id < 0).all() and len(set(drawn.id)) == 210
    again = canaries.draw(name, ladder=(1, 3), each=5, references=200, seed=4)
    assert again.text == drawn.text and (again.id == drawn.id).all()
    assert not set(canaries.draw(name, (1,), 5, 20, seed=5).text) & set(drawn.text)


def test_every_fill_is_equally_likely():
    """Secrets stand first: they must be drawn as the references are, or their ranks say nothing."""
    first = collections.Counter(draw_texts("{digit}{digit}", 9, np.random.default_rng(i))[0][0] for i in range(1500))
    assert set(first) == set("0123456789") and min(first.values()) > 100  # of 150 each, 4.3 standard deviations
    assert space("{digit}{letter} {first}") == 10 * 24 * len(SLOTS["first"]) and len(set(SLOTS["last"])) == 24 * 15


def test_no_fill_begins_another_one():
    """Then the chances of all fills after one prefix sum to 1 at most, which `metrics.certified_exposure` needs."""
    for words in SLOTS.values():
        ordered = sorted(words)
        assert len(set(words)) == len(words)
        assert not any(b.startswith(a) for a, b in zip(ordered, ordered[1:], strict=False))


@EVERY
def test_copies_are_documents_of_known_authors(name):
    drawn = canaries.draw(name, ladder=(1, 4), each=2, references=30, seed=1)
    larger = canaries.insert(NOTES, drawn, seed=3)
    assert larger.text[:40] == NOTES.text and len(larger.text) == 40 + 10
    counts = collections.Counter(larger.text[40:])
    assert [counts[each] for each in drawn.text] == drawn.repetitions.tolist()
    assert len(set(larger.id)) == 50 and (larger.id[40:] < drawn.id.min()).all()
    for secret in (2, 3):
        rows = [i for i in range(40, 50) if larger.text[i] == drawn.text[secret]]
        assert len({larger.user[i] for i in rows}) == 1 and larger.user[rows[0]] in NOTES.user
        notes_of_author = NOTES.user == larger.user[rows[0]]
        for trait, values in larger.traits.items():
            assert values[rows[0]] in NOTES.traits[trait][notes_of_author]
        (span,) = larger.secrets[rows[0]]
        assert larger.text[rows[0]][span.start : span.end] == drawn.fill[secret]
    assert canaries.insert(NOTES, drawn, seed=3).user.tolist() == larger.user.tolist()
    tokens = text.rows(larger, BYTES, 64)
    alone = canaries.examples(drawn, BYTES, 64)
    for i, copies in zip(range(4), drawn.repetitions, strict=False):  # what is read is what was trained on
        assert (tokens.tokens[:, :-1] == alone.x[i]).all(1).sum() == copies


def test_documents_without_fields_get_none():
    plain = text.from_texts(["one", "two"])
    larger = canaries.insert(plain, canaries.draw(each=1, references=5, seed=0))
    assert larger.user is None and larger.time is None and larger.secrets is None and len(larger.text) == 2 + 43
    timed = text.from_texts(["one", "two"], time=[3.0, 5.0])
    assert set(canaries.insert(timed, canaries.draw(each=1, references=5, seed=0)).time) <= {3.0, 5.0}


def tokenizer_of_words():
    """Splits before blanks, as byte pairs do, and joins "is 4" into one token: the fill's first digit is in it."""

    def parts(string):
        return re.findall(r"is \d|\s?[^\s]+|\s", string)

    names = {}

    def encode(string):
        return [names.setdefault(part, len(names) + 3) for part in parts(string)]

    return text.Tokenizer("words", 9999, encode, str, np.ones(9999, np.int64), {})


def test_the_fill_alone_counts():
    drawn = canaries.draw("owned_number", ladder=(2,), each=2, references=6, seed=0)
    x, y, ids = canaries.examples(drawn, BYTES, 64)
    assert (ids == drawn.id).all() and x.dtype == y.dtype == np.int32 and x.shape == y.shape == (8, 63)
    for row, prefix, fill in zip(range(8), drawn.prefix, drawn.fill, strict=True):
        assert BYTES.decode(y[row][y[row] >= 0]) == fill
        first = int((y[row] >= 0).argmax())
        assert BYTES.decode(x[row][: first + 1]) == prefix
    masked = canaries.examples(drawn, BYTES, 64, causal=False)
    for row, fill in enumerate(drawn.fill):
        assert BYTES.decode(masked.y[row][masked.y[row] >= 0]) == fill
        assert (masked.x[row][masked.y[row] >= 0] == BYTES.mask).all() and (masked.x[row] == BYTES.mask).sum() == 11


def test_a_token_across_the_border_is_the_fills():
    words = tokenizer_of_words()
    drawn = canaries.draw("number", ladder=(1,), each=1, references=9, seed=0)
    x, y, _ = canaries.examples(drawn, words, 12)
    assert ((y >= 0).sum(1) == 6).all() and len({tuple(row[:3]) for row in x}) == 1  # "the secret number"
    joined = {row[0] for row in (y[i][y[i] >= 0] for i in range(10))}
    assert len(joined) == len({fill[0] for fill in drawn.fill})  # "is 4" tells the first digit, and counts


def test_a_canary_elsewhere_is_refused():
    drawn = canaries.draw("code", ladder=(1,), each=1, references=3, seed=0)
    reference = drawn.text[-1]
    for passage in (reference, f"Well, the code of the door is ... {reference}. Bye."):
        documents = text.from_texts(["fine", passage], ids=[5, 6])
        with pytest.raises(ValueError, match="document 6 holds a canary of the template 'code' already"):
            canaries.check_absent(documents, drawn)
        with pytest.raises(ValueError, match="document 6 holds"):
            canaries.insert(documents, drawn)
    with pytest.raises(ValueError, match="holds a canary"):
        canaries.insert(canaries.insert(NOTES, drawn), drawn)
    canaries.check_absent(text.from_texts([drawn.fill[0], drawn.prefix[0] + "Z9"]), drawn)


def test_bad_canaries_are_named():
    drawn = canaries.draw(ladder=(1,), each=1, references=2, seed=0)
    for call, words in (
        (lambda: canaries.draw("numbers"), "template='numbers' is not known. Did you mean 'number'"),
        (lambda: canaries.draw(7), "template is a int; expected a name of number,"),
        (lambda: canaries.draw(Template("t", "a ", "b")), "has no slot"),
        (lambda: canaries.draw(Template("t", " ", "{digit}")), "prefix=' ' is empty"),
        (lambda: canaries.draw(Template("t", "a ", "{digt}")), "slot='digt' is not known. Did you mean 'digit'"),
        (lambda: canaries.draw(Template("t", "a ", "{digit")), "cannot be read"),
        (lambda: canaries.draw(Template("t", "a ", "{digit}"), (1,), 1, 5), "stands for 10 texts; expected at le"),
        (lambda: canaries.draw(ladder=()), "ladder is empty"),
        (lambda: canaries.draw(ladder=(0,)), r"ladder=\(0,\) must hold integers of at least 1"),
        (lambda: canaries.draw(ladder=(2, 2)), "names a number twice"),
        (lambda: canaries.draw(each=0), "each=0"),
        (lambda: canaries.draw(references=0), "references=0"),
        (lambda: canaries.examples(drawn, BYTES, 20), "a canary has 32 tokens, more than length=20"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
