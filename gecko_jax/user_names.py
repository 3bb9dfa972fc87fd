"""Names of people as keys: two spellings of one person are one name, or are refused.

A person who counts as two gets too small an epsilon, is a member and a non-member at once, and is in both parts of a
split. So every door that counts or groups people compares their names here.
"""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np

from gecko_jax import checks

HYPHEN, APOSTROPHE = "-", "'"
APOSTROPHES = dict.fromkeys(map(ord, "`\u00b4\u02b9\u02bc\u2018\u2019\u201b\u2032\uff07"), APOSTROPHE)
# What nobody sees beside the characters of category Cf: joiners, fillers, and ranges of variation selectors.
INVISIBLE = frozenset(map(chr, (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, *range(0x180B, 0x180E))))
SELECTORS = ("\ufe00", "\ufe0f"), ("\U000e0100", "\U000e01ef")


def normalized_names(argument: str, users: Any) -> np.ndarray:
    """Returns names as text [n] in which blanks and the encoding of accents keep nobody apart.

    Names that differ in case, in the kind of a hyphen or an apostrophe, or in characters that are not shown, are
    refused, because either guess may be wrong: two spellings of one person would give too small an epsilon, and with
    one name for two people the rows chosen of one would depend on the other. Equal integers are one name, 7 and 7.0.

    Args:
      argument: what the caller calls the names, which the message shows.
      users: the names [n] of the people whom n rows belong to, text, UTF-8 bytes or numbers.

    Raises:
      ValueError: another shape, a row without a name, bytes that are not UTF-8, or two names that differ in spelling
        alone.

    >>> normalized_names("users", ["Ann  Lee", "Ann Lee ", 7]).tolist()
    ['Ann Lee', 'Ann Lee', '7']
    >>> normalized_names("users", ["Ann", "ann"])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: users[1] is 'ann', and another one 'Ann': are they one person? ...
    """
    column = checks.not_empty(argument, checks.shape(argument, np.asarray(users, object), (None,)))
    names = [
        " ".join(unicodedata.normalize("NFC", _text(f"{argument}[{i}]", name)).split()) for i, name in enumerate(column)
    ]
    seen = {name: _as_seen(name) for name in set(names)}
    spellings: dict[str, str] = {}
    for i, (name, user) in enumerate(zip(names, column, strict=True)):
        if user is None or not seen[name] or user != user:
            raise ValueError(f"{argument}[{i}] is {user!r}; name every author, an unknown one by a name of its own.")
        other = spellings.setdefault(seen[name], name)
        if other != name:
            case = name.casefold() == other.casefold()
            shown = (repr(name), repr(other)) if case else (ascii(name), ascii(other))
            alike = f", [name.casefold() for name in {argument}]" if case else ""
            raise ValueError(
                f"{argument}[{i}] is {shown[0]}, and another one {shown[1]}: are they one person? If so, write them "
                f"alike{alike}; if not, give them names that differ in more than their spelling."
            )
    return np.array(names)


def with_one_spelling(argument: str, users: Any) -> np.ndarray:
    """Returns names as `normalized_names` does if they are text, and numbers as they are.

    Args:
      argument: what the caller calls the names, which the message shows.
      users: names or numbers [n].

    Raises:
      ValueError: see `normalized_names`.

    >>> with_one_spelling("users", ["Ann ", "Ann"]).tolist(), with_one_spelling("users", [7, 8]).tolist()
    (['Ann', 'Ann'], [7, 8])
    """
    names = np.asarray(users)
    if names.dtype.kind in "US" or all(isinstance(name, (str, bytes)) for name in names):
        return normalized_names(argument, names)
    return names


def _text(place: str, name: Any) -> str:
    """Returns a name as text; an error message says `place` for where it stands."""
    if isinstance(name, (bytes, bytearray)):
        try:
            return name.decode()
        except UnicodeDecodeError:
            raise ValueError(
                f"{place} is {bytes(name)!r}, which is not UTF-8; decode it: name.decode('latin-1')."
            ) from None
    if isinstance(name, (float, np.floating)) and name.is_integer():
        return str(int(name))  # a column with an empty cell turns integers into floats
    return str(name)


def _as_seen(name: str) -> str:
    """Returns what is equal for names that look alike but for their case; "" if nothing can be seen.

    >>> _as_seen("Jean\u2011Luc\u200b") == _as_seen("jean-luc")
    True
    """
    folded = unicodedata.normalize("NFKC", name.translate(APOSTROPHES)).casefold()
    return "".join(filter(None, map(_shown, unicodedata.normalize("NFKC", folded))))


def _shown(character: str) -> str:
    """Returns a hyphen for a dash of any kind, and "" for a character that is not shown."""
    if unicodedata.category(character) == "Pd" or character in "\u2212\u2043":
        return HYPHEN
    hidden = unicodedata.category(character) == "Cf" or character in INVISIBLE
    return "" if hidden or any(low <= character <= high for low, high in SELECTORS) else character
