"""Argument checks, in one place: a message names the argument, its value, the bound, and what to do.

An unhelpful error message is a bug. Each check returns the value, so that it can be used in an assignment.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
MAX_KNOWN_NAMES = 50  # in a message about an unknown one: the library's own tables are shown whole


def _is_no_number(value: Any) -> bool:
    """Whether a value cannot be compared with a number, where Python would raise a TypeError that names no argument."""
    return value is None or isinstance(value, (str, bytes))


def positive(name: str, value: float) -> float:
    """Raises ValueError unless value > 0 (and finite)."""
    if _is_no_number(value) or not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name}={value!r} must be a finite number above 0.")
    return value


def at_least(name: str, value: float, low: float) -> float:
    """Raises ValueError unless value >= low."""
    if _is_no_number(value) or not value >= low:
        raise ValueError(f"{name}={value!r} must be at least {low}.")
    return value


def integer(name: str, value: int, low: int) -> int:
    """value as a Python int; ValueError unless it is an integer (2.0 and True are none) of at least `low`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise ValueError(f"{name}={value!r} must be an integer of at least {low}.")
    return int(at_least(name, value, low))


def sizes(name: str, values: Iterable[int], meaning: str, count: int | None = None) -> tuple[int, ...]:
    """values as Python ints; ValueError unless they are `count` (or any number of) integers of at least 1.

    Args:
      name: of the argument.
      values: such as the widths of a network's layers.
      meaning: what they are, for the message.
      count: how many there must be; any number if None.
    """
    values = tuple(values)
    if count is not None and len(values) != count:
        raise ValueError(f"{name}={values!r} has {len(values)} entries; expected {count}: {meaning}.")
    for value in values:
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{name}={values!r} must hold integers of at least 1, not {value!r}: {meaning}.")
    return tuple(map(int, values))


def in_range(name: str, value: float, low: float, high: float) -> float:
    """Raises ValueError unless low <= value <= high."""
    if _is_no_number(value) or not low <= value <= high:
        raise ValueError(f"{name}={value!r} must lie between {low} and {high}.")
    return value


def one_of(name: str, value: T, allowed: Iterable[T]) -> T:
    """Raises ValueError, with a suggestion for a typo, unless value is among `allowed`."""
    allowed = list(allowed)
    if value in allowed:
        return value
    close = difflib.get_close_matches(str(value), [str(a) for a in allowed], n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"{name}={value!r} is not known.{hint} Known: {listed(allowed, MAX_KNOWN_NAMES)}.")


def listed(items: Iterable[Any], limit: int = 5) -> str:
    """The first `limit` items for a message, and how many more there are: a user's data may hold ten thousand.

    >>> listed(f"class {i}" for i in range(10_000))
    'class 0, class 1, class 2, class 3, class 4 and 9,995 more'
    >>> listed([1, 2])
    '1, 2'
    """
    items = list(items)
    shown = ", ".join(str(item) for item in items[:limit])
    return f"{shown} and {len(items) - limit:,} more" if len(items) > limit else shown


def lookup(name: str, value: str, table: Mapping[str, T]) -> T:
    """table[value], or a ValueError that lists the table and suggests the nearest name."""
    return table[one_of(name, value, table)]


def shape(name: str, array: Any, expected: tuple[int | None, ...]) -> Any:
    """Raises ValueError unless array.shape matches `expected`, in which None stands for any length."""
    actual = tuple(np.shape(array))
    if len(actual) != len(expected) or any(e is not None and a != e for a, e in zip(actual, expected, strict=True)):
        wanted = ", ".join("any" if e is None else str(e) for e in expected)
        raise ValueError(f"{name} has shape {actual}; expected ({wanted}).")
    return array


def not_empty(name: str, array: Any) -> Any:
    """Raises ValueError if the array's first axis has length 0."""
    if len(array) == 0:
        raise ValueError(f"{name} is empty; at least one row is needed.")
    return array


def unmasked(name: str, array: Any) -> Any:
    """Raises ValueError if entries of a masked array are hidden: as a plain array they would count.

    >>> unmasked("x", np.ma.array([1, 2], mask=[False, True]))
    Traceback (most recent call last):
    ...
    ValueError: x hides 1 entry behind a mask, which would count; leave its rows out, or pass x.filled(value).
    """
    if isinstance(array, np.ma.MaskedArray) and (hidden := int(np.ma.count_masked(array))):
        entries = "1 entry" if hidden == 1 else f"{hidden:,} entries"
        raise ValueError(
            f"{name} hides {entries} behind a mask, which would count; leave its rows out, or pass "
            f"{name}.filled(value)."
        )
    return array


def finite(name: str, array: Any) -> Any:
    """Raises ValueError with the first bad position unless every entry is finite."""
    bad = np.argwhere(~np.isfinite(np.asarray(array)))
    if len(bad):
        where = tuple(int(i) for i in bad[0])
        raise ValueError(f"{name} holds {len(bad)} entries that are NaN or infinite, the first at index {where}.")
    return array
