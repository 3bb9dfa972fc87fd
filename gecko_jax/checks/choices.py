"""Checks of a value that is one of several, and lists of names for messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")
MAX_KNOWN_NAMES = 50  # in a message about an unknown one: the library's own tables are shown in full


def one_of(name: str, value: T, allowed: Iterable[T]) -> T:
    """Checks that a value is among those allowed, and suggests the nearest one for a typo.

    Args:
      name: the argument's name, which the message shows.
      value: the value.
      allowed: all values that are accepted.

    >>> one_of("outputs", "logit", ["logits", "labels"])
    Traceback (most recent call last):
    ...
    ValueError: outputs='logit' is not known. Did you mean 'logits'? Known: logits, labels.
    """
    allowed = list(allowed)
    if value in allowed:
        return value
    close = difflib.get_close_matches(str(value), [str(a) for a in allowed], n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"{name}={value!r} is not known.{hint} Known: {listed(allowed, MAX_KNOWN_NAMES)}.")


def listed(items: Iterable[Any], limit: int = 5) -> str:
    """Returns the first `limit` items for a message, and how many more there are: data may hold ten thousand.

    Args:
      items: what is listed, as text.
      limit: how many are shown.

    >>> listed(f"class {i}" for i in range(10_000))
    'class 0, class 1, class 2, class 3, class 4 and 9,995 more'
    >>> listed([1, 2])
    '1, 2'
    """
    items = list(items)
    shown = ", ".join(str(item) for item in items[:limit])
    return f"{shown} and {len(items) - limit:,} more" if len(items) > limit else shown


def lookup(name: str, value: str, table: Mapping[str, T]) -> T:
    """Returns table[value]; the ValueError for an unknown name lists the table and suggests the nearest one.

    Args:
      name: the argument's name, which the message shows.
      value: a name in the table.
      table: name -> what it stands for.

    >>> lookup("loss", "mse", {"mse": 1})
    1
    """
    return table[one_of(name, value, table)]
