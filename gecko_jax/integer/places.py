"""Where the values of a sparse array lie: a bitmap, or gaps of a few bits, whichever takes fewer bytes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gecko_jax.compression import gap_levels, mask_from_gaps, shortest_gap_bits
from gecko_jax.integer.codes import pack_bits, unpack_bits


class Places(NamedTuple):
    """The places of the values that are stored; all others are 0.

    Attributes:
      bits: of a gap's level (see `compression.gap_levels`); 1 for a bitmap, one bit for each value of the array.
      levels: how many levels, or bits of the bitmap.
      values: how many values are stored.
      data: the packed levels, uint8.
    """

    bits: int
    levels: int
    values: int
    data: np.ndarray


def shortest_places(present: np.ndarray) -> Places:
    """Returns the places in the form that takes fewer bytes.

    Args:
      present: bool of any shape, which values are stored.
    """
    count, (bits, total) = int(present.sum()), shortest_gap_bits(present)
    levels, bits = (gap_levels(present, bits), bits) if total < present.size else (present.ravel(), 1)
    return Places(bits, len(levels), count, pack_bits(levels, bits))


def present_at(places: Places, size: int) -> np.ndarray:
    """Returns bool [size], which values are stored.

    Args:
      places: from `shortest_places`.
      size: of the array.

    Raises:
      ValueError: places of another array.
    """
    levels = unpack_bits(places.data, places.bits, places.levels)
    present = levels.astype(bool) if places.bits == 1 else mask_from_gaps(levels, places.bits, size)
    if len(present) != size or present.sum() != places.values:
        raise ValueError(f"places name {present.sum()} of {len(present)} values; expected {places.values} of {size}.")
    return present
