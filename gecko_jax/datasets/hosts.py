"""Turns arrays of any library into NumPy arrays, and refuses masks and objects instead of dropping or guessing them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gecko_jax import checks

MAX_EXACT_INTEGER = 2**24  # float32 holds every integer up to it
MAX_SHARE_MERGED = 0.01  # of a column's different integers that float32 may merge


def host_array(name: str, values: Any) -> np.ndarray:
    """Returns `values` as a NumPy array.

    Args:
      name: of the argument.
      values: an array of NumPy, JAX or pandas, or a nested list.

    Raises:
      ValueError: if entries are masked or missing, if the array is sparse or of objects, or if rows differ in length.
    """
    if hasattr(values, "toarray"):
        raise ValueError(f"{name} is a sparse {type(values).__name__}; pass {name}.toarray(), with its zeros.")
    missing = _missing(values)
    if missing:
        raise ValueError(
            f"{name} has {missing} masked or missing entries, and the mask would be lost. Leave those rows out, or "
            f"fill the entries: {name}.filled(value) of a masked array, {name}.fillna(value) in pandas."
        )
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} does not form an array ({error}); every row must have the same shape.") from error
    if array.dtype.kind == "O":
        raise ValueError(
            f"{name} has dtype object: its entries are {type(array.flat[0]).__name__ if array.size else 'none'}s, such "
            "as text, None, or numbers of several types. Pass numbers of one type, for example "
            f"np.asarray({name}, np.float32)."
        )
    return array


def _missing(values: Any) -> int:
    """Counts the entries that NumPy's mask hides or pandas calls missing."""
    if isinstance(values, np.ma.MaskedArray):
        return int(np.ma.count_masked(values))
    if isinstance(values, (list, tuple)):
        return sum(each is np.ma.masked or _missing(each) for each in values)
    if hasattr(values, "isna"):  # pandas' DataFrame, Series, Index and arrays
        return int(np.asarray(values.isna()).sum())
    return 0


def as_float32(name: str, x: np.ndarray) -> np.ndarray:
    """Stores numbers as float32, contiguous; refuses those that float32 cannot hold or cannot tell apart.

    Args:
      name: the argument's name, which the message shows.
      x: [n, ...] real numbers.

    Raises:
      ValueError: NaN, infinite or too large; a column of integers (ids, times in seconds) of which float32 merges more
        than one value in a hundred.

    >>> as_float32("x", np.array([[1.5], [2.0]])).dtype
    dtype('float32')
    """
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is reported as such
        stored = checks.finite(name, np.ascontiguousarray(x, np.float32))
    if x.dtype.itemsize < 4 or not x.size or max(abs(stored.max()), abs(stored.min())) <= MAX_EXACT_INTEGER:
        return stored
    columns, exact = stored.reshape(len(x), -1), x.reshape(len(x), -1)
    for column in np.flatnonzero(np.abs(columns).max(0) > MAX_EXACT_INTEGER):
        values = np.unique(exact[:, column])
        distinct = len(np.unique(columns[:, column]))
        merged = distinct < (1 - MAX_SHARE_MERGED) * len(values)
        if merged and np.array_equal(values, np.round(values)):
            raise ValueError(
                f"{name}[:, {column}] holds {len(values):,} different integers up to {values[-1]:,.0f}, of which "
                f"float32 tells {distinct:,} apart. Subtract the smallest, scale them, or leave an id out."
            )
    return stored
