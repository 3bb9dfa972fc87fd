"""A counter hash of ids: draws that depend on an example's id, not on its place in an array.

`ranks(ids, seed, "purpose")` is a random order of the ids. Each hash is a function of (seed, purpose, id) alone.
Permuting the ids therefore permutes the draws in the same way, and adding examples changes no other example's hash.
"""

from __future__ import annotations

import numpy as np

from gecko_jax import checks, keys
from gecko_jax.datasets.hosts import host_array
from gecko_jax.types import Array

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(z: np.ndarray) -> np.ndarray:
    """Applies splitmix64's last step, a bijection of 64-bit words (Steele, Lea and Flood 2014, Fast splittable ...)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def check_ids(ids: Array) -> np.ndarray:
    """Returns ids as int64 [n]; raises ValueError unless they are unique integers of one axis, at least one."""
    ids = host_array("ids", ids)
    checks.shape("ids", ids, (None,))
    checks.not_empty("ids", ids)
    if ids.dtype.kind not in "iu":
        raise ValueError(
            f"ids has dtype {ids.dtype}; expected integers. Replace other names by their places in a sorted list, "
            "np.unique(names, return_inverse=True)[1]."
        )
    if ids.max() > np.iinfo(np.int64).max:
        raise ValueError(
            f"ids hold {ids.max()}, above the maximum of int64, {np.iinfo(np.int64).max}: it would wrap around to "
            "another id. Pass smaller ids, or ids.view(np.int64) if wrapped ids will do."
        )
    ids = ids.astype(np.int64)
    values, counts = np.unique(ids, return_counts=True)
    if len(values) < len(ids):
        twice = values[np.argmax(counts > 1)]
        raise ValueError(f"ids must be unique, yet {twice} occurs more than once. Number the rows with np.arange(n).")
    return ids


def hashes(ids: Array, seed: int, *words: str | int) -> np.ndarray:
    """Hashes ids uniformly, and independently for each (seed, words).

    Args:
      ids: int64 [n].
      seed: at least 0.
      *words: the purpose of the draw, as in `gecko_jax.keys`.

    Returns:
      uint64 [n]; different ids have different hashes.
    """
    # The raw 64-bit output of a NumPy bit generator never changes between versions, unlike a Generator's methods.
    key = np.uint64(keys.generator(seed, *words).bit_generator.random_raw())
    return _mix(_mix(np.asarray(ids).astype(np.uint64) + _GOLDEN) ^ key)


def ranks(ids: Array, seed: int, *words: str | int) -> np.ndarray:
    """Returns each id's place, 0..n-1, if the ids are sorted by their hashes: int64 [n]."""
    order = np.argsort(hashes(ids, seed, *words), kind="stable")
    result = np.empty(len(ids), np.int64)
    result[order] = np.arange(len(ids))
    return result


def count_on(ids: Array, test_ids: Array) -> np.ndarray:
    """Returns test ids after the training rows' own; the lowest free numbers if int64 ends before (hashed text).

    >>> count_on(np.array([0, 7]), np.array([0, 3])).tolist()
    [8, 11]
    """
    ids, test_ids = np.asarray(ids), np.asarray(test_ids)
    start, span = int(ids.max()) + 1, int(test_ids.max()) - int(test_ids.min())  # Python's integers: no wrapping
    if start + span <= np.iinfo(np.int64).max:
        return start + (test_ids - test_ids.min())
    return np.setdiff1d(np.arange(len(ids) + len(test_ids)), ids)[: len(test_ids)]
