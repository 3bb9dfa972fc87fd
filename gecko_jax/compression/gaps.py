"""Where the weights of a sparse array lie, as gaps of a few bits.

With b bits, level g < 2^b - 1 says that g zeros come before the next weight; the level 2^b - 1 says that 2^b - 1 zeros
come and no weight, so that a long gap takes several levels and no filler value. What follows the last weight is zero.
"""

from __future__ import annotations

import numpy as np

from gecko_jax.checks import in_range
from gecko_jax.types import Array

MAX_GAP_BITS = 8


def gap_levels(present: Array, bits: int) -> np.ndarray:
    """Encodes the places of weights.

    Args:
      present: bool of any shape, read in C order.
      bits: of a level, 2 to 8.

    Returns:
      uint8 [levels].

    >>> gap_levels(np.array([0, 1, 0, 0, 0, 0, 1], bool), 2).tolist()
    [1, 3, 1]
    """
    skips, rest = _divided(present, bits)
    levels = np.full(int(skips.sum()) + len(skips), (1 << bits) - 1, np.uint8)
    levels[np.cumsum(skips + 1) - 1] = rest
    return levels


def mask_from_gaps(levels: Array, bits: int, size: int) -> np.ndarray:
    """Decodes the places of weights.

    Args:
      levels: from `gap_levels`.
      bits: of a level.
      size: of the array.

    Returns:
      bool [size].

    Raises:
      ValueError: levels out of range, or that lead beyond the array.

    >>> mask_from_gaps([1, 3, 1], 2, 8).astype(int).tolist()
    [0, 1, 0, 0, 0, 0, 1, 0]
    """
    top, levels = (1 << int(in_range("bits", bits, 2, MAX_GAP_BITS))) - 1, np.asarray(levels, np.int64)
    if levels.size and not 0 <= levels.min() <= levels.max() <= top:
        raise ValueError(f"levels span {levels.min()}..{levels.max()}; levels of {bits} bits lie in 0..{top}.")
    places = (np.cumsum(np.where(levels < top, levels + 1, top)) - 1)[levels < top]
    if len(places) and places[-1] >= size:
        raise ValueError(f"levels lead to place {places[-1]} of an array of {size}; expected gaps of this array.")
    present = np.zeros(size, bool)
    present[places] = True
    return present


def shortest_gap_bits(present: Array) -> tuple[int, int]:
    """Finds the width of level that takes the fewest bits in all.

    Args:
      present: bool of any shape.

    Returns:
      (bits of a level, bits of all levels).

    >>> shortest_gap_bits(np.arange(100) % 10 == 9)
    (4, 40)
    """
    totals = {}
    for bits in range(2, MAX_GAP_BITS + 1):
        skips, _ = _divided(present, bits)
        totals[bits] = bits * (int(skips.sum()) + len(skips))
    best = min(totals, key=lambda bits: totals[bits])
    return best, totals[best]


def _divided(present: Array, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (levels that only skip, the last level) of each weight."""
    bits = int(in_range("bits", bits, 2, MAX_GAP_BITS))
    zeros = np.diff(np.flatnonzero(np.asarray(present)), prepend=-1) - 1
    return np.divmod(zeros, (1 << bits) - 1)
