"""Where the features of an affine map's result lie, and the diagonals that compute it there.

  folded    all positions share the work: position r sums a part of output r mod m, and the parts are folded together
            by log2(width / m) rotations, after which every output is repeated. For dense layers.
            (Juvekar et al., Gazelle, arXiv 1801.05507, section 4.)
  sparse    each output gets the free position that adds the fewest diagonals: strided convolutions, pools, adjacency
            matrices. The order of features is free, because the next map is written for it.

A map reads a table of columns: int [inputs, width], the column at each position of each input ciphertext, or -1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from gecko_jax.encrypted import rotations

MAX_DENSE_ENTRIES = 2**25  # of a matrix that is laid out as a dense one
ROTATION_PRICES = (0.01, 20.0)  # in products with plaintexts: of equal diagonals the fewest rotations, or both together
ROUND_SHIFT_PRICE = 1e-4
MAX_SEARCH = 4 * 10**8  # lookups of the search for a channel's positions; in order if there would be more


class Placed(NamedTuple):
    """A map on ciphertexts.

    Attributes:
      features: int32 [outputs, width], the output at each position, or -1.
      matrices: for each matrix: (keys int64 [count, 3]: output ciphertext, input ciphertext and diagonal;
        weights float64 [count, width] at the positions of the output).
      folds: rotations to add, in positions.
      period: positions after which diagonals repeat.
    """

    features: np.ndarray
    matrices: tuple[tuple[np.ndarray, np.ndarray], ...]
    folds: tuple[int, ...]
    period: int


def folded(matrices: list[Any], columns: np.ndarray) -> Placed | None:
    """Lays out maps of few outputs over all positions.

    Args:
      matrices: [out, columns] each; they share the layout.
      columns: the table.

    Returns:
      The layout; None if the outputs do not fit into one ciphertext.
    """
    count, total = matrices[0].shape
    width = columns.shape[1]
    if count > width or count * total > MAX_DENSE_ENTRIES or width == 1:
        return None
    modulus = 1 << (count - 1).bit_length()
    period = max(_period(columns), modulus)
    rows = np.arange(period) % modulus
    placed = []
    for matrix in matrices:
        dense = matrix.toarray()
        open_ = dense != 0
        keys, weights = [], []
        for diagonal in range(modulus):
            for source in range(len(columns)):
                column = np.roll(columns[source], -diagonal)[:period]
                usable = np.flatnonzero((rows < count) & (column >= 0))
                usable = usable[open_[rows[usable], column[usable]]]
                _, first = np.unique(rows[usable] * total + column[usable], return_index=True)
                usable = usable[first]
                if len(usable):
                    line = np.zeros(period)
                    line[usable] = dense[rows[usable], column[usable]]
                    open_[rows[usable], column[usable]] = False
                    keys.append((0, source, diagonal))
                    weights.append(np.tile(line, width // period))
        placed.append(_or_zero(keys, weights, width))
    features = np.tile(np.where(np.arange(modulus) < count, np.arange(modulus), -1), width // modulus)
    folds = tuple(modulus << i for i in range((period // modulus).bit_length() - 1))
    return Placed(features[None].astype(np.int32), tuple(placed), folds, period)


def sparse(matrices: list[Any], columns: np.ndarray, rotation_price: float = 0.01) -> Placed:
    """Lays out maps so that they have few diagonals.

    Args:
      matrices: [out, columns] each; they share the layout.
      columns: the table.
      rotation_price: of a further rotation, in further diagonals, when a convolution's channels are placed.

    Returns:
      The layout.
    """
    count, total = matrices[0].shape
    width = columns.shape[1]
    period = _period(columns)
    support: Any = csr_array(sum(abs(matrix) for matrix in matrices))
    features = np.full((-(-count // width), width), -1, np.int32)
    if width == 1:
        features.reshape(-1)[:count] = np.arange(count)
        return at(matrices, columns, features)
    search = _Search(support, *_places(columns, total), np.zeros((len(columns), period), bool), rotation_price)
    rank = _ranks(support)
    groups = [np.flatnonzero(rank == each) for each in np.unique(rank)]
    return at(matrices, columns, _channels(search, groups, features))


def at(matrices: list[Any], columns: np.ndarray, features: np.ndarray) -> Placed:
    """Computes maps at given positions.

    Args:
      matrices: [out, columns] each.
      columns: the table of what is read.
      features: int32 [outputs, width], the output at each position, or -1; repeats are computed several times.

    Returns:
      The layout.
    """
    width, period = columns.shape[1], _period(columns)
    source, position = _places(columns, matrices[0].shape[1])
    slots = np.flatnonzero(features.reshape(-1) >= 0)
    placed = []
    for matrix in matrices:
        read: Any = csr_array(matrix[features.reshape(-1)[slots]]).tocoo()
        rows, cols, values = slots[read.coords[0]], read.coords[1], read.data
        diagonals = (position[cols] - rows % width) % period
        keys = np.stack([rows // width, source[cols], diagonals], 1)
        keys, index = np.unique(keys, axis=0, return_inverse=True)
        weights = np.zeros((len(keys), width))
        weights[index.reshape(-1), rows % width] = values
        placed.append(_or_zero(keys.tolist(), list(weights), width, len(features)))
    return Placed(features, tuple(placed), (), period)


def _or_zero(
    keys: list[tuple[int, ...]], weights: list[np.ndarray], width: int, outputs: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """The lists as arrays, with one diagonal of zeros for an output that reads nothing."""
    idle = sorted(set(range(outputs)) - {key[0] for key in keys})
    keys = [*keys, *((output, 0, 0) for output in idle)]
    return np.array(keys, np.int64).reshape(-1, 3), np.array([*weights, *[np.zeros(width)] * len(idle)])


def _period(columns: np.ndarray) -> int:
    """The smallest power of two after which all columns repeat."""
    period = columns.shape[1]
    while period > 1 and np.array_equal(columns[:, : period // 2], columns[:, period // 2 : period]):
        period //= 2
    return period


def _places(columns: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
    """The first ciphertext and position of each column, as two arrays [total]; -1 if it is nowhere."""
    places = np.full(total, -1)
    flat = columns.reshape(-1)
    filled = np.flatnonzero(flat >= 0)[::-1]
    places[flat[filled]] = filled
    return places // columns.shape[1], places % columns.shape[1]


class _Search(NamedTuple):
    """What the search for positions reads: the map's pattern, where columns are, and the diagonals used so far."""

    support: Any
    source: np.ndarray
    position: np.ndarray
    used: np.ndarray
    rotation_price: float

    def read(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Input ciphertexts and positions that a row reads."""
        columns = self.support.indices[self.support.indptr[row] : self.support.indptr[row + 1]]
        return self.source[columns], self.position[columns]


def _channels(search: _Search, groups: list[np.ndarray], features: np.ndarray) -> np.ndarray:
    """Positions of a convolution's outputs: the first channel's one by one, the others' like it but shifted.

    A channel that does not fit as one goes to the next ciphertext. If none is left, it is placed one by one, as is
    every row of a map that is not a convolution.
    """
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


def _shift(search: _Search, group: np.ndarray, first: dict[int, int], features: np.ndarray) -> int | None:
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
