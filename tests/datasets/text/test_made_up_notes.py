"""Made-up notes: the recorded passages are the secrets, all of them, and a note depends on its number alone."""

import re

import pytest

from gecko_jax.datasets import text
from gecko_jax.datasets.text import made_up_words as words

NOTES = text.notes(80, seed=0)
PATTERNS = {
    "name": r"[A-Z][a-z]+ [A-Z][a-z]+",
    "record number": r"\d{7}",
    "telephone": r"\d{3} \d{4}",
    "code": r"[A-Z]{3}\d{3}",
    "date": r"\d{1,2} [A-Z][a-z]+ (19|20)\d\d",
}


def test_each_passage_is_what_its_kind_says_and_no_other_digits_are_secret():
    kinds = set()
    for note, spans in zip(NOTES.text, NOTES.secrets, strict=True):
        kinds |= {span.kind for span in spans}
        assert {"name", "record number", "date", "telephone", "code"} <= {span.kind for span in spans}
        rest = note
        for span in reversed(spans):
            assert re.fullmatch(PATTERNS[span.kind], note[span.start : span.end]), (span, note)
            rest = rest[: span.start] + rest[span.end :]
        assert not re.search(r"\d\d\d|[A-Z]{3}\d", rest), rest
        assert not any(first + last in rest for first in words.FIRST_NAMES[0] for last in words.FIRST_NAMES[1])
    assert kinds == set(PATTERNS)


def test_a_note_depends_on_its_number_and_seed_alone():
    assert text.notes(3, seed=0, first=10).text == NOTES.text[10:13]
    other = text.notes(80, seed=1)
    secrets = [{note[s.start : s.end] for note, spans in zip(made.text, made.secrets, strict=True) for s in spans
                if s.kind in ("record number", "telephone", "code")} for made in (NOTES, other)]  # fmt: skip
    assert not secrets[0] & secrets[1] and len(secrets[0]) == 240


def test_an_author_keeps_to_traits_that_the_text_shows():
    traits = {}
    for user, department, style in zip(NOTES.user, *(NOTES.traits[name] for name in ("department", "style")),
                                       strict=True):  # fmt: skip
        assert traits.setdefault(user, (department, style)) == (department, style)
    assert len(traits) <= 24 and len({department for department, _ in traits.values()}) == 4
    for note, department in zip(NOTES.text, NOTES.traits["department"], strict=True):
        assert any(each[1:] in note for each in words.DEPARTMENTS[department].complaints)
    full = [("Plan:" in note or "Rx " in note) for note in NOTES.text]
    terse = NOTES.traits["style"] == "terse"
    agreement = sum(a == b for a, b in zip(full, terse, strict=True)) / 80
    assert 0.7 < agreement < 0.98


def test_departments_are_those_asked_for():
    some = text.notes(20, seed=0, departments=["pediatrics", "cardiology"])
    assert set(some.traits["department"]) == {"pediatrics", "cardiology"}
    for departments, message in (([], "departments is empty"), (["surgery"], "departments='surgery' is not known")):
        with pytest.raises(ValueError, match=message):
            text.notes(1, seed=0, departments=departments)


@pytest.mark.parametrize("options", [{"n": 0}, {"n": 1, "authors": 0}, {"n": 1, "first": -1}])
def test_bad_sizes_are_refused(options):
    with pytest.raises(ValueError, match="must be at least"):
        text.notes(**{"seed": 0, **options})
