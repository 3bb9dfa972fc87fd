"""Rows that need not be in memory: NumPy's memory maps, and whatever else reads rows from a disk.

Anything with a shape, a dtype and rows by a slice or by rising indices will do, such as a data set of h5py or zarr.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

BYTES_PER_READ = 2**26


class StoredRows:
    """Rows that are read when they are asked for.

    The pages of a memory map are given back as soon as they have been read: they stay in the system's own cache, but
    would otherwise count as this process's memory.

    Args:
      source: an array [n, ...] that is not in memory.
    """

    def __init__(self, source: Any):
        self._source, self.shape, self.dtype = source, tuple(source.shape), np.dtype(source.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = np.array(self._source[index])
        mapped: Any = memory_map(self._source)
        # A copy-on-write map ("c") keeps what was written to it in those pages alone.
        if mapped is not None and getattr(mapped, "mode", "c") != "c" and hasattr(mmap, "MADV_DONTNEED"):
            with contextlib.suppress(OSError, ValueError):  # a closed map, or a system that does not do it
                mapped._mmap.madvise(mmap.MADV_DONTNEED)
        return rows

    def in_blocks(self) -> Iterator[np.ndarray]:
        """Yields all rows, block by block."""
        return (block for (block,) in in_blocks(self))


def stored(leaf: Any) -> Any:
    """Returns an array as it is to be read: one that is not in memory as StoredRows, anything else as it is.

    Args:
      leaf: an array [n, ...] of any kind.
    """
    return StoredRows(leaf) if is_stored(leaf) else leaf


def is_stored(leaf: Any) -> bool:
    """Returns whether the rows of an array are read from a disk when they are asked for.

    Args:
      leaf: an array of any kind.

    >>> is_stored(np.zeros(3)), is_stored(3.0)
    (False, False)
    """
    if memory_map(leaf) is not None:
        return True
    if isinstance(leaf, (np.ndarray, np.generic, jax.Array)) or not hasattr(leaf, "shape"):
        return False
    with contextlib.suppress(TypeError, AttributeError):  # an array of another library
        return np.dtype(leaf.dtype).kind in "biuf"
    return False


def memory_map(leaf: Any) -> np.memmap | None:
    """Returns the memory map that an array is, or a view of; None if there is none."""
    while isinstance(leaf, np.ndarray):
        if isinstance(leaf, np.memmap):
            return leaf
        leaf = leaf.base
    return None


def shape_of(leaf: Any) -> jax.ShapeDtypeStruct:
    """Returns an array's shape and JAX's dtype for it, and reads no row."""
    return jax.ShapeDtypeStruct(leaf.shape, jax.dtypes.canonicalize_dtype(leaf.dtype))


def byte_count(leaf: Any) -> int:
    """Returns the bytes that an array takes in memory, or would take."""
    return int(np.prod(leaf.shape, dtype=np.int64)) * np.dtype(leaf.dtype).itemsize


def in_blocks(*leaves: Any) -> Iterator[list[np.ndarray]]:
    """Yields all rows of some arrays, block by block, so that they need not be in memory at once.

    Args:
      *leaves: arrays [n, ...] of any kind.
    """
    leaves = tuple(np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf for leaf in leaves)
    count = len(leaves[0])
    rows = max(BYTES_PER_READ * count // max(sum(map(byte_count, leaves)), 1), 1)
    for start in range(0, count, rows):
        yield [np.ascontiguousarray(leaf[start : start + rows]) for leaf in leaves]


def read_rows(leaf: Any, rows: np.ndarray) -> np.ndarray:
    """Returns some rows of an array, each read once and in rising order.

    Args:
      leaf: an array [n, ...] of any kind.
      rows: int [k], in any order and repeated or not.

    >>> read_rows(np.arange(5) * 2, np.array([3, 0, 3])).tolist()
    [6, 0, 6]
    """
    unique, inverse = np.unique(rows, return_inverse=True)
    return np.asarray(leaf[unique])[inverse]
