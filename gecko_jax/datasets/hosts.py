"""Turns arrays of any library into NumPy arrays, and refuses masks and objects instead of dropping or guessing them."""

from __future__ import annotations

from typing import Any

import numpy as np


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
