"""Codes of a few bits: packing them, and the numbers that they represent, on a grid or by a code book."""

from __future__ import annotations

from typing import Any

import numpy as np

from gecko_jax.checks import in_range, one_of
from gecko_jax.types import Array

MAX_CODE_BITS = 8


def pack_bits(levels: Array, bits: int, word: Any = np.uint8) -> np.ndarray:
    """Packs non-negative integers at `bits` bits each, the lowest bit first.

    Args:
      levels: integers in 0..2^bits - 1, of any shape, read in C order.
      bits: 1 to 8.
      word: type of the packed words, uint8 or uint32.

    Returns:
      ceil(levels.size * bits / width) words; the bits after the last level are 0.

    Raises:
      ValueError: a level out of range, or another type of words.

    >>> pack_bits([1, 0, 1, 1], 1).tolist(), pack_bits([1, 2, 3], 2).tolist()
    ([13], [57])
    """
    bits = int(in_range("bits", bits, 1, MAX_CODE_BITS))
    one_of("word", np.dtype(word).name, ("uint8", "uint32"))
    levels = np.asarray(levels).reshape(-1)
    if levels.size and (levels.min() < 0 or levels.max() >= 1 << bits):
        raise ValueError(f"levels span {levels.min()}..{levels.max()}; {bits} bits hold 0..{(1 << bits) - 1}.")
    stream = np.unpackbits(levels.astype(np.uint8)[:, None], axis=1, count=bits, bitorder="little")
    packed = np.packbits(stream.reshape(-1), bitorder="little")
    size = np.dtype(word).itemsize
    packed = np.pad(packed, (0, -len(packed) % size))
    return packed.view("<u4").astype(np.uint32) if size == 4 else packed


def unpack_bits(words: Array, bits: int, length: int) -> np.ndarray:
    """Unpacks the first `length` levels of `pack_bits(levels, bits)`.

    Args:
      words: uint8 or uint32, as `pack_bits` returned them.
      bits: of a level, 1 to 8.
      length: how many levels.

    Returns:
      uint8 [length].

    Raises:
      ValueError: fewer words than `length` levels need.

    >>> unpack_bits(pack_bits([1, 2, 3], 2), 2, 3).tolist()
    [1, 2, 3]
    """
    bits, length = int(in_range("bits", bits, 1, MAX_CODE_BITS)), int(length)
    words = np.ascontiguousarray(words)
    stream = np.unpackbits(words.astype(words.dtype.newbyteorder("<")).view(np.uint8), bitorder="little")
    if len(stream) < length * bits:
        raise ValueError(f"words hold {len(stream)} bits; {length} levels of {bits} bits need {length * bits}.")
    levels = stream[: length * bits].reshape(length, bits)
    return np.packbits(levels, axis=1, bitorder="little").reshape(-1)


def grid(values: Array, bits: int) -> tuple[int, int]:
    """Finds the grid of a quantizer's values: values = offset + step * level with 0 <= level < 2^bits.

    The first that fits of: -1 by 2 (one bit), two's complement, from 0 upwards, the odd numbers -(2^k - 1)..2^k - 1.

    Args:
      values: integers of any shape.
      bits: of a level, 1 to 8.

    Returns:
      (offset, step).

    Raises:
      ValueError: no such grid holds the values.

    >>> grid([-1, 0, 1], 2), grid([-3, -1, 1, 3], 2)
    ((-2, 1), (-3, 2))
    """
    bits = int(in_range("bits", bits, 1, MAX_CODE_BITS))
    values, top = np.asarray(values), 1 << bits
    if not np.array_equal(values, np.round(values)):
        raise ValueError("codes are not integers; no grid holds them. Use integers, and put the rest into the scale.")
    values = values.astype(np.int64)
    choices = [(-1, 2)] if bits == 1 else [(-(top >> 1), 1), (0, 1), (1 - top, 2)]
    for offset, step in choices + ([(0, 1)] if bits == 1 else []):
        levels, rest = np.divmod(values - offset, step)
        if not rest.any() and (not levels.size or (levels.min() >= 0 and levels.max() < top)):
            return offset, step
    raise ValueError(
        f"codes span {values.min()}..{values.max()}; no grid of {bits} bits holds them. Declare more bits."
    )


def code_book(values: Array, bits: int) -> np.ndarray:
    """Returns a quantizer's distinct values, ascending, as int8 if that holds them, else int32 or float32.

    Args:
      values: numbers of any shape.
      bits: of a level, 1 to 8.

    Raises:
      ValueError: more than 2^bits different values, or values that float32 does not hold exactly.

    >>> code_book([4, -1, 0, 1, 4], 2).tolist()
    [-1, 0, 1, 4]
    """
    in_range("bits", bits, 1, MAX_CODE_BITS)
    book = np.unique(np.asarray(values).astype(np.float64))
    if len(book) > 1 << bits:
        raise ValueError(
            f"codes take {len(book)} values in {book[0]:g}..{book[-1]:g}; {bits} bits hold {1 << bits}. Declare more "
            "bits, or use the same levels in every filter and put the difference into the scale."
        )
    for kind in (np.int8, np.int32) if np.array_equal(book, np.round(book)) else ():
        if np.iinfo(kind).min <= book[0] and book[-1] <= np.iinfo(kind).max:
            return book.astype(kind)
    if not np.array_equal(book.astype(np.float32).astype(np.float64), book.astype(np.float64)):
        raise ValueError(f"codes in {book[0]}..{book[-1]} are not exact in float32. Use smaller integers and a scale.")
    return book.astype(np.float32)
