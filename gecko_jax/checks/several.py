"""Checks of arguments that hold several numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np


def sizes(name: str, values: Iterable[Any], meaning: str, count: int | None = None) -> tuple[int, ...]:
    """Checks that values are integers of at least 1, and returns them as Python ints.

    Args:
      name: of the argument.
      values: such as the widths of a network's layers.
      meaning: what the numbers stand for; shown in the error message.
      count: how many there must be; any number if None.

    Raises:
      ValueError: a lone number, another number of values, or one that is not such an integer.

    >>> sizes("hidden", [64, 32], "the widths of the hidden layers")
    (64, 32)
    """
    values = entries(name, values, f"integers: {meaning}")
    if count is not None and len(values) != count:
        raise ValueError(f"{name}={values!r} has {len(values)} entries; expected {count}: {meaning}.")
    for value in values:
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{name}={values!r} must hold integers of at least 1, not {value!r}: {meaning}.")
    return tuple(map(int, values))


def numbers(name: str, values: Iterable[Any], meaning: str) -> tuple[float, ...]:
    """Checks that values are finite numbers, and returns them as Python floats.

    Args:
      name: of the argument.
      values: such as one weight for each exit.
      meaning: what the entries stand for; shown in the error message.

    Raises:
      ValueError: a lone number, a text, or an entry that is not a finite real number.

    >>> numbers("weights", (1, np.float32(0.5)), "one for each exit")
    (1.0, 0.5)
    >>> numbers("weights", 1.0, "one for each exit")
    Traceback (most recent call last):
    ...
    ValueError: weights=1.0 must be a sequence of numbers: one for each exit.
    """
    each = entries(name, values, f"numbers: {meaning}")
    for value in each:
        if np.ndim(value) or np.asarray(value).dtype.kind not in "fiu" or not np.isfinite(value):
            raise ValueError(f"{name}={values!r} must hold finite numbers, not {value!r}: {meaning}.")
    return tuple(map(float, each))


def entries(name: str, values: Any, expected: str) -> tuple[Any, ...]:
    """Returns the entries of a sequence; a lone number or a text is refused.

    Args:
      name: of the argument.
      values: a sequence.
      expected: what the argument should hold; shown in the error message.

    >>> entries("layers", None, "paths of modules")
    Traceback (most recent call last):
    ...
    ValueError: layers=None must be a sequence of paths of modules.
    """
    try:
        if not isinstance(values, (str, bytes)):
            return tuple(values)
    except TypeError:  # an array without an axis can be asked for an iterator, too
        pass
    raise ValueError(f"{name}={values!r} must be a sequence of {expected}.")
