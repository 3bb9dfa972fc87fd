"""Checks of one number."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


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
