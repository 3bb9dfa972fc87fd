"""Searches for an order of the arrays in which first-fit gives a small arena.

  1. first-fit in several orders: by size, by lifetime, by both, by what is alive beside an array, by time
  2. of at most 7 arrays all orders, which is exact (`placement.first_fit`)
  3. of more a local search: an array at the arena's end, or one that is alive with it, moves forward in the order

It stops at the liveness bound.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from gecko_jax.integer.placement import Neighbors, block_bytes, first_fit, lowest_place, meeting
from gecko_jax.programs import Lifetime

MAX_EXHAUSTIVE_ARRAYS = 7
SEED = 0


def search(lifetimes: Sequence[Lifetime], bound: int, trials: int) -> tuple[list[int], bool]:
    """Searches for offsets that make the arena small.

    Args:
      lifetimes: of all arrays.
      bound: size in bytes at which the search stops.
      trials: orders that the local search tries.

    Returns:
      (offset of each array in bytes, whether all orders were tried)

    >>> search([Lifetime(4, 0, 1), Lifetime(8, 1, 2), Lifetime(4, 2, 3)], 12, 100)
    ([8, 0, 8], False)
    """
    neighbors = meeting(lifetimes)
    starts = []
    for order in _orders(lifetimes, neighbors):
        offsets = first_fit(lifetimes, order, neighbors)
        starts.append((block_bytes(lifetimes, offsets), order, offsets))
        if starts[-1][0] <= bound:
            return offsets, False
    size, order, offsets = min(starts, key=lambda start: start[0])
    sized = [i for i, t in enumerate(lifetimes) if t.bytes]
    if len(sized) <= MAX_EXHAUSTIVE_ARRAYS:
        return _Exhaustive(lifetimes, neighbors, size, offsets).run(sized), True
    return _improve(lifetimes, neighbors, order, bound, trials), False


def _orders(lifetimes: Sequence[Lifetime], neighbors: Neighbors) -> Iterator[list[int]]:
    """Yields orders in which first-fit often gives a small block."""
    sizes = [t.bytes for t in lifetimes]
    steps = [1 + t.read - t.written for t in lifetimes]
    crowds = [sizes[i] + sum(sizes[j] for j in near) for i, near in enumerate(neighbors)]
    keys = (
        [(-size, i) for i, size in enumerate(sizes)],
        [(-size, -i) for i, size in enumerate(sizes)],
        [(-size * lasts, i) for i, (size, lasts) in enumerate(zip(sizes, steps, strict=True))],
        [(-lasts, -size) for size, lasts in zip(sizes, steps, strict=True)],
        [(-crowd, -size) for size, crowd in zip(sizes, crowds, strict=True)],
        [(t.written, -t.bytes) for t in lifetimes],
        [(-t.read, -t.bytes) for t in lifetimes],
    )
    for key in keys:
        yield sorted(range(len(sizes)), key=key.__getitem__)


class _Exhaustive:
    """Tries all orders of a few arrays, without those whose beginning is too large already."""

    def __init__(self, lifetimes: Sequence[Lifetime], neighbors: Neighbors, size: int, offsets: list[int]):
        self._lifetimes, self._neighbors, self._size, self._best = lifetimes, neighbors, size, offsets
        self._offsets: list[int | None] = [None if t.bytes else 0 for t in lifetimes]

    def run(self, rest: list[int], end: int = 0) -> list[int]:
        """Returns the offsets of a smallest arena, after placing the rest behind what ends at `end`."""
        if not rest:
            self._size, self._best = end, [offset or 0 for offset in self._offsets]
        for i in rest:
            offset = lowest_place(i, self._lifetimes, self._offsets, self._neighbors)
            reached = max(end, offset + self._lifetimes[i].bytes)
            if reached < self._size:
                self._offsets[i] = offset
                self.run([j for j in rest if j != i], reached)
                self._offsets[i] = None
        return self._best


def _improve(
    lifetimes: Sequence[Lifetime], neighbors: Neighbors, order: list[int], bound: int, trials: int
) -> list[int]:
    """Moves arrays in the order, one at a time, and keeps each order that is not worse."""
    draw = random.Random(SEED)
    best = offsets = first_fit(lifetimes, order, neighbors)
    size = smallest = block_bytes(lifetimes, offsets)
    for _ in range(trials):
        if smallest <= bound:
            break
        ends = [i for i, t in enumerate(lifetimes) if t.bytes and offsets[i] + t.bytes == size]
        moved = draw.choice(ends)
        if draw.random() < 0.5 and neighbors[moved]:
            moved = draw.choice(neighbors[moved])
        without = [i for i in order if i != moved]
        place = draw.randrange(len(without) + 1)
        tried = [*without[:place], moved, *without[place:]]
        moved_offsets = first_fit(lifetimes, tried, neighbors)
        moved_size = block_bytes(lifetimes, moved_offsets)
        if moved_size <= size:
            order, offsets, size = tried, moved_offsets, moved_size
        if size < smallest:
            best, smallest = offsets, size
    return best
