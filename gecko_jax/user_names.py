"""Names of people as keys: two spellings of one person are one name, or are refused.

A person who counts as two gets too small an epsilon, is a member and a non-member at once, and is in both parts of a
split. So every door that counts or groups people compares their names here.
"""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np

from gecko_jax import checks


def normalized_names(argument: str, users: Any) -> np.ndarray:
    """Returns names as text [n] in which blanks and the encoding of accents keep nobody apart.

    Names that differ by case alone are refused, because either guess may be wrong: two spellings of one person would
    give too small an epsilon, and with one name for two people the rows chosen of one would depend on the other.

    Args:
      argument: what the caller calls the names, which the message shows.
      users: the names [n] of the people whom n rows belong to, text or numbers.

    Raises:
      ValueError: another shape, a row without a name, or two names that differ in spelling alone.

    >>> normalized_names("users", ["Ann  Lee", "Ann Lee ", 7]).tolist()
    ['Ann Lee', 'Ann Lee', '7']
    >>> normalized_names("users", ["Ann", "ann"])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: users[1] is 'ann', and another one 'Ann': are they one person? ...
    """
    column = checks.not_empty(argument, checks.shape(argument, np.asarray(users, object), (None,)))
    names = [" ".join(unicodedata.normalize("NFC", _text(name)).split()) for name in column]
    spellings: dict[str, str] = {}
    for i, (name, user) in enumerate(zip(names, column, strict=True)):
        if user is None or not name or user != user:
            raise ValueError(f"{argument}[{i}] is {user!r}; name every author, an unknown one by a name of its own.")
        other = spellings.setdefault(unicodedata.normalize("NFKC", name).casefold(), name)
        if other != name:
            raise ValueError(
                f"{argument}[{i}] is {name!r}, and another one {other!r}: are they one person? If so, write them "
                f"alike, [name.casefold() for name in {argument}]; if not, give them names that differ in more than "
                "their spelling."
            )
    return np.array(names)


def _text(name: Any) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)
