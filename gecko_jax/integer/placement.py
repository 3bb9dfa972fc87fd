"""Where arrays lie in one block of memory: which of them meet, the lowest free place, and a bound for any layout.

Arrays that are alive at the same time must not overlap; all others may. To find the smallest block is known as dynamic
storage allocation, an NP-hard problem.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gecko_jax.programs import Lifetime

Neighbors = list[list[int]]


def round_up(number: int, multiple: int) -> int:
    """Returns the smallest multiple that is not below a number.

    >>> round_up(17, 16), round_up(16, 16)
    (32, 16)
    """
    return -(-number // multiple) * multiple


def meeting(lifetimes: Sequence[Lifetime]) -> Neighbors:
    """Lists for each array the others that are alive in some step of its own; an array of 0 bytes meets none.

    Args:
      lifetimes: of all arrays.

    >>> meeting([Lifetime(4, 0, 1), Lifetime(4, 1, 2), Lifetime(4, 2, 3)])
    [[1], [0, 2], [1]]
    """
    return [
        [
            j
            for j, b in enumerate(lifetimes)
            if i != j and a.bytes and b.bytes and a.written <= b.read and b.written <= a.read
        ]
        for i, a in enumerate(lifetimes)
    ]


def lowest_place(i: int, lifetimes: Sequence[Lifetime], offsets: Sequence[int | None], neighbors: Neighbors) -> int:
    """Returns the lowest aligned offset at which an array fits beside the neighbors that have their place.

    Args:
      i: number of the array.
      lifetimes: of all arrays.
      offsets: of all arrays, in bytes; None for those without a place.
      neighbors: from `meeting`.
    """
    size, _, _, alignment = lifetimes[i]
    offset = 0
    taken = [(start, start + lifetimes[j].bytes) for j in neighbors[i] if (start := offsets[j]) is not None]
    for start, end in sorted(taken):
        if start >= offset + size:
            break
        offset = max(offset, round_up(end, alignment))
    return offset


def first_fit(lifetimes: Sequence[Lifetime], order: Sequence[int], neighbors: Neighbors) -> list[int]:
    """Places the arrays one after another, each as low as it fits.

    Some order gives a smallest block: take any smallest layout, and place its arrays from the lowest to the highest.

    Args:
      lifetimes: of all arrays.
      order: their numbers, each once.
      neighbors: from `meeting`.

    Returns:
      The offset of each array in bytes, in the order of `lifetimes`.

    >>> arrays = [Lifetime(4, 0, 1), Lifetime(8, 1, 2), Lifetime(2, 2, 3)]
    >>> first_fit(arrays, [0, 1, 2], meeting(arrays))
    [0, 4, 0]
    """
    offsets: list[int | None] = [None] * len(lifetimes)
    for i in order:
        offsets[i] = lowest_place(i, lifetimes, offsets, neighbors)
    return [offset for offset in offsets if offset is not None]


def block_bytes(lifetimes: Sequence[Lifetime], offsets: Sequence[int]) -> int:
    """Computes the size of a layout: the end of its highest array, in bytes.

    Args:
      lifetimes: of all arrays.
      offsets: of each, in bytes.

    >>> block_bytes([Lifetime(4, 0, 1), Lifetime(8, 1, 2)], [0, 4])
    12
    """
    return max((t.bytes + offset for t, offset in zip(lifetimes, offsets, strict=True) if t.bytes), default=0)


def liveness_bound(lifetimes: Sequence[Lifetime]) -> int:
    """Computes a lower bound on the size of every layout: what is alive at once must lie side by side.

    With alignments of 1 it is `programs.peak_bytes`. Of the arrays alive in one step, each but the highest also takes
    the bytes up to the next address at which another may start: a multiple of their alignments' common divisor.

    Args:
      lifetimes: of all arrays.

    Returns:
      Bytes; 0 without arrays.

    >>> liveness_bound([Lifetime(4, 0, 1), Lifetime(8, 1, 2), Lifetime(2, 2, 2)])
    12
    >>> liveness_bound([Lifetime(10, 0, 1, 16), Lifetime(20, 0, 1, 16)])  # the 10 bytes below, the 20 from 16 on
    36
    """
    bound = 0
    for step in {t.written for t in lifetimes}:
        live = [t for t in lifetimes if t.bytes and t.written <= step <= t.read]
        divisor = math.gcd(*(t.alignment for t in live))
        padding = [round_up(t.bytes, divisor) - t.bytes for t in live] if live else [0]
        bound = max(bound, sum(t.bytes for t in live) + sum(padding) - max(padding))
    return bound
