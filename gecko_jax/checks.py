"""Argument checks in one place: a message names the argument, its value, what is expected, and what to do.

An unhelpful error message is a bug. Each check returns the value, so that it can be used in an assignment.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
MAX_KNOWN_NAMES = 50  # in a message about an unknown one: the library's own tables are shown in full


def _is_comparable(value: Any) -> bool:
    """Whether Python compares a value with a number; otherwise its TypeError would not name the argument."""
    return value is not None and not isinstance(value, (str, bytes))


def positive(name: str, value: T) -> T:
    """Checks that a number is finite and above 0.

    Args:
      name: the argument's name, which the message shows.
      value: the number.

    >>> positive("learning_rate", 0)
    Traceback (most recent call last):
    ...
    ValueError: learning_rate=0 must be a finite number above 0.
    """
    number: Any = value
    if not _is_comparable(value) or not (np.isfinite(number) and number > 0):
        raise ValueError(f"{name}={value!r} must be a finite number above 0.")
    return value


def at_least(name: str, value: T, low: float) -> T:
    """Checks that a number is not below `low`; NaN is rejected.

    Args:
      name: the argument's name, which the message shows.
      value: the number.
      low: the smallest value that is accepted.

    >>> at_least("noise_multiplier", 0.0, 0)
    0.0
    """
    number: Any = value
    if not _is_comparable(value) or not number >= low:
        raise ValueError(f"{name}={value!r} must be at least {low}.")
    return value


def integer(name: str, value: Any, low: int) -> int:
    """Checks that a value is an integer of at least `low` (2.0 and True are rejected), and returns it as a Python int.

    Args:
      name: the argument's name, which the message shows.
      value: an int of Python or NumPy.
      low: the smallest value that is accepted.

    >>> integer("epochs", np.int64(3), 1)
    3
    >>> integer("epochs", 2.0, 1)
    Traceback (most recent call last):
    ...
    ValueError: epochs=2.0 must be an integer of at least 1.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise ValueError(f"{name}={value!r} must be an integer of at least {low}.")
    return int(at_least(name, value, low))


def sizes(name: str, values: Iterable[Any], meaning: str, count: int | None = None) -> tuple[int, ...]:
    """Checks that values are integers of at least 1, and returns them as Python ints.

    Args:
      name: of the argument.
      values: such as the widths of a network's layers.
      meaning: what they are, for the message.
      count: how many there must be; any number if None.

    Raises:
      ValueError: another number of values, or one that is not such an integer.

    >>> sizes("hidden", [64, 32], "the widths of the hidden layers")
    (64, 32)
    """
    values = tuple(values)
    if count is not None and len(values) != count:
        raise ValueError(f"{name}={values!r} has {len(values)} entries; expected {count}: {meaning}.")
    for value in values:
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{name}={values!r} must hold integers of at least 1, not {value!r}: {meaning}.")
    return tuple(map(int, values))


def in_range(name: str, value: T, low: float, high: float) -> T:
    """Checks that low <= value <= high; NaN is rejected.

    Args:
      name: the argument's name, which the message shows.
      value: the number.
      low, high: the smallest and the largest value that are accepted.

    >>> in_range("momentum", 0.9, 0, 1)
    0.9
    """
    number: Any = value
    if not _is_comparable(value) or not low <= number <= high:
        raise ValueError(f"{name}={value!r} must lie between {low} and {high}.")
    return value


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


def shape(name: str, array: T, expected: tuple[int | None, ...]) -> T:
    """Checks an array's shape.

    Args:
      name: of the argument.
      array: an array, or anything with `.shape`.
      expected: its shape; None stands for any length.

    Raises:
      ValueError: naming both shapes.

    >>> shape("x", np.zeros((3, 2)), (None, 4))
    Traceback (most recent call last):
    ...
    ValueError: x has shape (3, 2); expected (any, 4).
    """
    actual = tuple(np.shape(array))  # type: ignore[arg-type]
    if len(actual) != len(expected) or any(e is not None and a != e for a, e in zip(actual, expected, strict=True)):
        wanted = ", ".join("any" if e is None else str(e) for e in expected)
        raise ValueError(f"{name} has shape {actual}; expected ({wanted}).")
    return array


def not_empty(name: str, array: T) -> T:
    """Checks that an array's first axis, or a sequence, has at least one entry.

    Args:
      name: the argument's name, which the message shows.
      array: the array or sequence.

    >>> not_empty("x", [])
    Traceback (most recent call last):
    ...
    ValueError: x is empty; at least one row is needed.
    """
    if len(array) == 0:  # type: ignore[arg-type]
        raise ValueError(f"{name} is empty; at least one row is needed.")
    return array


def unmasked(name: str, array: T) -> T:
    """Checks that no entry of a masked array is hidden, because as a plain array it would count.

    Args:
      name: the argument's name, which the message shows.
      array: an array of any kind.

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


def finite(name: str, array: T) -> T:
    """Checks that every entry is finite; the ValueError names the first position that is not.

    Args:
      name: the argument's name, which the message shows.
      array: numbers of any shape.

    >>> finite("x", [1.0, float("nan")])
    Traceback (most recent call last):
    ...
    ValueError: x holds 1 entry that is NaN or infinite, the first at index (1,).
    """
    bad = np.argwhere(~np.isfinite(np.asarray(array)))
    if len(bad):
        where = tuple(int(i) for i in bad[0])
        entries = "1 entry that is" if len(bad) == 1 else f"{len(bad)} entries that are"
        raise ValueError(f"{name} holds {entries} NaN or infinite, the first at index {where}.")
    return array
