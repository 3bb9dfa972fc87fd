"""Made-up clinical notes with planted secrets: the data set of text that needs no file and holds no real person.

Each note names a patient, a record number, a date, a telephone number and an access code, all drawn at random, so that
a model can only know them from having been trained on the note. Their places are known (`Documents.secrets`). An author
keeps to a department and mostly to a style, the traits that a text gives away of its author.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from gecko_jax import checks, keys
from gecko_jax.datasets.text import made_up_words as words
from gecko_jax.datasets.text.documents import Documents, Span

SENSITIVE = {
    "name": "name",
    "relative": "name",
    "record": "record number",
    "date": "date",
    "phone": "telephone",
    "code": "code",
}
ORDER = ("opening", "complaint", "finding", "treatment", "contact", "closing")
FAITH_TO_STYLE = 0.85  # chance that a sentence is in its author's own style


def notes(
    n: int, seed: int, authors: int = 24, first: int = 0, departments: Sequence[str] = tuple(words.DEPARTMENTS)
) -> Documents:
    """Generates clinical notes with known secrets.

    Note i is a function of (seed, authors, departments, i) alone. Notes of two seeds share the words and, but for
    chance, no secret, so that those of another seed can stand for public text.

    Args:
      n: number of notes, at least 1.
      seed: at least 0.
      authors: number of authors, at least 1; each note's author is drawn at random.
      first: id of the first note, at least 0.
      departments: that the authors belong to; all four if not given. Public notes of other departments than the private
        ones share their form, and not what they are about.

    Returns:
      Documents with users, with `secrets` (spans of the kinds name, record number, date, telephone and code), and with
      the traits "department" and "style" of the authors. Names are put together from syllables.

    Raises:
      ValueError: n or authors below 1, first below 0, no departments or unknown ones.

    >>> made = notes(2, seed=0)
    >>> span = made.secrets[0][0]
    >>> span.kind, made.text[0][span.start : span.end] in made.text[0], sorted(made.traits)
    ('name', True, ['department', 'style'])
    """
    checks.integer("n", n, 1)
    checks.integer("authors", authors, 1)
    checks.integer("first", first, 0)
    for name in checks.not_empty("departments", tuple(departments)):
        checks.one_of("departments", name, words.DEPARTMENTS)
    people = [_author(seed, i, authors, departments) for i in range(authors)]
    texts, secrets, places = [], [], []
    for i in range(first, first + n):
        draws = keys.generator(seed, "notes", authors, i)
        places.append(int(draws.integers(authors)))
        _, department, style = people[places[-1]]
        text, spans = _note(draws, words.DEPARTMENTS[department], style)
        texts.append(text)
        secrets.append(spans)
    names, their_departments, styles = (np.array([people[i][part] for i in places], object) for part in range(3))
    ids = np.arange(first, first + n, dtype=np.int64)
    return Documents(
        tuple(texts), names, ids, secrets=tuple(secrets), traits={"department": their_departments, "style": styles}
    )


def _author(seed: int, i: int, authors: int, departments: Sequence[str]) -> tuple[str, str, str]:
    """Returns (name, department, style) of an author; the number in the name keeps authors apart."""
    draws = keys.generator(seed, "notes", "author", authors, i)
    department = _any(draws, departments)
    return f"Dr. {_syllables(draws, words.LAST_NAMES)} {i}", department, list(words.STYLES)[draws.integers(2)]


def _note(draws: np.random.Generator, department: words.Department, style: str) -> tuple[str, tuple[Span, ...]]:
    """Writes one note: the sentences in order, and the passages that are secrets."""
    text, spans = "", []
    for sentence in ORDER:
        faithful = draws.uniform() < FAITH_TO_STYLE
        chosen = style if faithful else next(name for name in words.STYLES if name != style)
        template = _any(draws, words.STYLES[chosen][sentence])
        begin = len(text)
        for i, part in enumerate(re.split(r"\{(\w+)\}", template)):
            piece = _filled(draws, department, part) if i % 2 else part
            if i % 2 and part in SENSITIVE:
                spans.append(Span(len(text), len(text) + len(piece), SENSITIVE[part]))
            text += piece
        text = text[:begin] + text[begin : begin + 1].upper() + text[begin + 1 :] + " "
    return text.rstrip(), tuple(spans)


def _filled(draws: np.random.Generator, department: words.Department, slot: str) -> str:
    """Draws what stands in a place of a template."""
    if slot in ("name", "relative"):
        return f"{_syllables(draws, words.FIRST_NAMES)} {_syllables(draws, words.LAST_NAMES)}"
    if slot in ("record", "phone"):
        digits = "".join(map(str, draws.integers(0, 10, 7)))
        return digits if slot == "record" else f"{digits[:3]} {digits[3:]}"
    if slot == "code":
        return "".join(words.LETTERS[i] for i in draws.integers(0, len(words.LETTERS), 3)) + _number(draws, 100, 1000)
    if slot == "date":
        return f"{draws.integers(1, 29)} {_any(draws, words.MONTHS)} {draws.integers(1990, 2030)}"
    if slot == "count":
        return _number(draws, 2, 12)
    if slot == "unit":
        return _any(draws, ("days", "weeks", "months"))
    return _any(draws, getattr(department, slot + "s"))


def _number(draws: np.random.Generator, low: int, high: int) -> str:
    return str(draws.integers(low, high))


def _any(draws: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(draws.integers(len(choices)))]


def _syllables(draws: np.random.Generator, parts: tuple[Sequence[str], ...]) -> str:
    return "".join(_any(draws, part) for part in parts)
