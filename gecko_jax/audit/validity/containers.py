"""Records as they come: an array, a sparse matrix, or a dict of them, with one row for each record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gecko_jax import checks

MAX_DENSE_VALUES = 2**26  # of a dense copy of a sparse matrix


def as_records(x: Any) -> Any:
    """Returns x as a NumPy array, a scipy.sparse matrix by rows, or a dict of them.

    Raises:
      ValueError: parts of a dict with unequal numbers of rows.
    """
    if is_sparse(x):  # first: scipy's dok_matrix is a dict as well
        return x.tocsr()
    if isinstance(x, Mapping):
        parts = {key: as_records(part) for key, part in x.items()}
        if len({count(part) for part in parts.values()}) != 1:
            rows = {key: count(part) for key, part in parts.items()}
            raise ValueError(f"x has parts of {rows} rows; expected one row of each for every record.")
        return parts
    checks.unmasked("x", x)
    try:
        return np.asarray(x)
    except ValueError:  # records of unequal length
        rows = np.empty(len(x), object)
        rows[:] = list(x)
        return rows


def is_sparse(x: Any) -> bool:
    """Returns whether x is a matrix of scipy.sparse."""
    return hasattr(x, "tocsr")


def is_numeric(x: Any) -> bool:
    """Returns whether x is one array of numbers."""
    return isinstance(x, np.ndarray) and x.dtype.kind in "biuf"


def is_float(x: Any) -> bool:
    """Returns whether x is one array of floats, which can be perturbed."""
    return isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.ndim >= 2


def count(x: Any) -> int:
    """Returns the number of records."""
    if isinstance(x, Mapping):
        return count(next(iter(x.values())))
    return x.shape[0] if is_sparse(x) else len(x)


def shape_of_record(x: Any) -> Any:
    """Returns one record's shape; of a dict, each part's."""
    if isinstance(x, Mapping):
        return {key: shape_of_record(x[key]) for key in sorted(x)}
    return tuple(np.shape(x) if not is_sparse(x) else x.shape)[1:]


def take(x: Any, index: Any) -> Any:
    """Returns some records; a copy if the index holds numbers."""
    if isinstance(x, Mapping):
        return {key: take(part, index) for key, part in x.items()}
    return x[index]


def join(parts: Sequence[Any]) -> Any:
    """Returns the records of all parts, one part after another."""
    if isinstance(parts[0], Mapping):
        return {key: join([part[key] for part in parts]) for key in parts[0]}
    if any(map(is_sparse, parts)):
        from scipy import sparse

        return sparse.vstack(parts, format="csr")
    return np.concatenate(parts)


def copied(x: Any) -> Any:
    """Returns a copy that a predict function may write to."""
    if isinstance(x, Mapping):
        return {key: copied(part) for key, part in x.items()}
    return x.copy() if is_sparse(x) else np.array(x)


def numbers_of(x: Any, rows: np.ndarray | None = None) -> np.ndarray:
    """Returns the numbers of some records, or of all: float64 [k, d], a dict's parts side by side.

    Raises:
      ValueError: text, objects, or a sparse matrix that is too large to be made dense.
    """
    x = as_records(x)
    if isinstance(x, Mapping):
        return np.concatenate([numbers_of(x[key], rows) for key in sorted(x)], axis=1)
    x = x if rows is None else x[rows]
    if is_sparse(x):
        if x.shape[0] * x.shape[1] > MAX_DENSE_VALUES:
            raise ValueError(f"x is sparse with {x.shape[1]} features, too many for a dense copy")
        return x.toarray().astype(np.float64)
    if not is_numeric(x):
        raise ValueError(f"x holds {'text' if x.dtype.kind in 'US' else 'objects'}, not numbers")
    return x.reshape(len(x), -1).astype(np.float64)
