"""Positions with few diagonals for a sparse map: a convolution's channels are shifted copies of the first.

A row that reads position p from position r lies on the diagonal p - r. Rows of one channel share their diagonals if
each lies where its window starts; a second channel adds the fewest if all of its rows are shifted by one distance.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gecko_jax.encrypted import rotations

ROUND_SHIFT_PRICE = 1e-4
MAX_SEARCH = 4 * 10**8  # lookups of the search for a channel's positions; in order if there would be more


class Search(NamedTuple):
    """What the search for positions reads: the map's pattern, where columns are, and the diagonals used so far."""

    support: Any
    source: np.ndarray
    position: np.ndarray
    used: np.ndarray
    rotation_price: float

    def read(self, row: Any) -> tuple[np.ndarray, np.ndarray]:
        """Input ciphertexts and positions that a row reads."""
        columns = self.support.indices[self.support.indptr[row] : self.support.indptr[row + 1]]
        return self.source[columns], self.position[columns]


def place(search: Search, features: np.ndarray) -> np.ndarray:
    """Finds positions for a map's outputs: the first channel's one by one, the others' like it but shifted.

    A channel that does not fit as one goes to the next ciphertext. If none is left, it is placed one by one, as is
    every row of a map that is not a convolution.

    Args:
      search: the map's pattern.
      features: int32 [outputs, width], all -1; it is filled.

    Returns:
      The features.
    """
    rank = _ranks(search.support)
    groups = [np.flatnonzero(rank == each) for each in np.unique(rank)]
    period, width = search.used.shape[1], features.shape[1]
    current = 0
    first: dict[int, int] = {}  # row of the first channel -> its position
    for group in groups:
        shift = _shift(search, group, first, features[current])
        if shift is None and current + 1 < len(features) and len(group) == len(first):
            current += 1
            shift = _shift(search, group, first, features[current])
        if shift is not None:
            places = (np.array(list(first.values())) + shift) % width
            features[current, places] = group
            for row, place in zip(group, places, strict=True):
                source, position = search.read(row)
                search.used[source, (position - place) % period] = True
            continue
        thorough = width * sum(len(search.read(row)[0]) for row in group) <= MAX_SEARCH
        for row in group:
            source, position = search.read(row)
            output = int(np.argmax((features < 0).any(axis=1)))  # the first ciphertext with room
            place = _free_place(source, position, features[output], search.used, thorough)
            search.used[source, (position - place) % period] = True
            features[output, place] = row
            if group is groups[0]:
                first[int(row)] = output * width + place
        if first and max(first.values()) >= width:
            first = {}  # a channel of several ciphertexts is not shifted
    return features


def _free_place(
    source: np.ndarray, position: np.ndarray, features: np.ndarray, used: np.ndarray, thorough: bool
) -> int:
    """The free position from which a row that reads these positions adds the fewest diagonals."""
    period, width = used.shape[1], len(features)
    free = np.flatnonzero(features < 0)
    candidates = free[:1]
    if len(position):  # a place that adds none reads its first column along a diagonal that is used
        known = (position[0] - np.flatnonzero(used[source[0]])) % period
        near = np.unique((known[:, None] + np.arange(0, width, period)[None]).reshape(-1))
        candidates = np.concatenate([near[features[near] < 0], candidates])
    for places in (candidates, free) if thorough else (candidates,):
        diagonals = (position[:, None] - places[None]) % period
        added = np.count_nonzero(~used[source[:, None], diagonals], axis=0)
        best = int(np.argmin(added))
        if added[best] == 0:
            break
    return int(places[best])


def _shift(search: Search, group: np.ndarray, first: dict[int, int], features: np.ndarray) -> int | None:
    """The shift of the first channel's positions that costs least; None if all of them collide."""
    places = np.array(list(first.values()), int)
    if not first or len(group) != len(places):
        return None
    width = len(features)
    taken = np.flatnonzero(features >= 0)
    blocked = np.unique((taken[:, None] - places[None]) % width) if len(taken) else np.array([], int)
    free = np.setdiff1d(np.arange(width), blocked)
    if not len(free):
        return None
    sources, positions = (np.concatenate(each) for each in zip(*map(search.read, group), strict=True))
    counts = [len(search.read(row)[0]) for row in group]
    pairs = np.unique(np.stack([sources, positions - np.repeat(places, counts)]), axis=1)
    period = search.used.shape[1]
    diagonals = (pairs[1][:, None] - free[None]) % period
    price = np.count_nonzero(~search.used[pairs[0][:, None], diagonals], axis=0).astype(float)
    known = np.flatnonzero(search.used.any(axis=0))
    split = rotations.split(known, period, 1, 1)
    for part in (np.mod, np.floor_divide):  # baby steps and giant steps that are new
        old = np.unique(part((known - split.start) % period, split.base))
        steps = np.sort(part((diagonals - split.start) % period, split.base), axis=0)
        fresh = ~np.isin(steps, old)
        fresh[1:] &= steps[1:] != steps[:-1]
        price += search.rotation_price * np.count_nonzero(fresh, axis=0)
    # Of equal ones the shift by the largest power of two: differences of such shifts are few.
    price += ROUND_SHIFT_PRICE * np.log2(width / np.gcd(free, width))
    return int(free[np.argmin(price)])


def _ranks(support: Any) -> np.ndarray:
    """Each row's number within a run of rows that read the same columns: the channel of a convolution's output."""
    rank = np.zeros(support.shape[0], np.int64)
    for row in range(1, len(rank)):
        this, last = (support.indices[support.indptr[r] : support.indptr[r + 1]] for r in (row, row - 1))
        rank[row] = rank[row - 1] + 1 if np.array_equal(this, last) else 0
    return rank
