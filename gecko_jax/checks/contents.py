"""Checks of arrays: their shapes and what they hold."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

T = TypeVar("T")


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
