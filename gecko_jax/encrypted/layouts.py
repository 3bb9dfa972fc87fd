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

from gecko_jax.encrypted import channels

MAX_DENSE_ENTRIES = 2**25  # of a matrix that is laid out as a dense one
ROTATION_PRICES = (0.01, 20.0)  # in products with plaintexts: of equal diagonals the fewest rotations, or both together


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


def of_input(shape: tuple[int, ...], width: int) -> np.ndarray:
    """Lays out the input: rows of images start at multiples of a power of two, if that takes no further ciphertext.

    Args:
      shape: of one example.
      width: positions in a ciphertext.

    Returns:
      int32 [ciphertexts, width], the feature at each position, or -1.

    >>> of_input((2, 3), 8).tolist()
    [[0, 1, 2, -1, 3, 4, 5, -1]]
    """
    size = int(np.prod(shape))
    ciphertexts = -(-size // width)
    padded = [1 << (length - 1).bit_length() for length in shape[1:]]
    positions = np.arange(size)
    if len(shape) > 1 and shape[0] * int(np.prod(padded)) <= ciphertexts * width:
        positions = np.ravel_multi_index(np.unravel_index(positions, shape), (shape[0], *padded))
    features = np.full(ciphertexts * width, -1, np.int32)
    features[positions] = np.arange(size)
    return features.reshape(-1, width)


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
    search = channels.Search(support, *_places(columns, total), np.zeros((len(columns), period), bool), rotation_price)
    return at(matrices, columns, channels.place(search, features))


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
