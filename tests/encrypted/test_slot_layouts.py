"""Layouts compute the matrix, by an evaluator that knows rotations and products of vectors alone."""

import numpy as np
import pytest
from random_circuits import convolution
from scipy.sparse import csr_array

from gecko_jax.encrypted import layouts, rotations


def columns(size, width, period=None):
    """Features in order, repeated after `period` positions if it is given, in as many ciphertexts as needed."""
    table = np.full(-(-size // width) * width, -1)
    for start in range(0, len(table), period or len(table)):
        table[start : start + size] = np.arange(size)[: len(table) - start]
    return table.reshape(-1, width)


def check(placed, matrix, table, seed=0):
    x = np.random.default_rng(seed).normal(size=matrix.shape[1])
    slots = np.where(table >= 0, x[table], 0.0)
    result = np.zeros(placed.features.shape)
    for (output, source, diagonal), weights in zip(*placed.matrices[0], strict=True):
        result[output] += weights * np.roll(slots[source], -diagonal)
    for fold in placed.folds:
        result = result + np.roll(result, -fold, axis=1)
    filled = placed.features >= 0
    np.testing.assert_allclose(result[filled], (matrix @ x)[placed.features[filled]], atol=1e-12)
    assert set(placed.features[filled]) == set(range(matrix.shape[0]))


@pytest.mark.parametrize("layout", [layouts.folded, layouts.sparse])
@pytest.mark.parametrize(
    "out, size, width, period", [(5, 20, 32, None), (20, 20, 32, None), (3, 8, 32, 8), (12, 4, 16, 4), (5, 20, 8, None)]
)
def test_dense(layout, out, size, width, period):
    matrix = csr_array(np.random.default_rng(out).normal(size=(out, size)))
    table = columns(size, width, period)
    check(layout([matrix], table), matrix, table)


@pytest.mark.parametrize("width", [1, 4, 16])
def test_sparse_takes_as_many_ciphertexts_as_needed(width):
    matrix = csr_array(np.random.default_rng(0).normal(size=(10, 7)))
    placed = layouts.sparse([matrix], columns(7, width))
    assert placed.features.shape == (-(-10 // width), width)
    check(placed, matrix, columns(7, width))


def test_folded_leaves_what_does_not_fit():
    assert layouts.folded([csr_array(np.ones((9, 4)))], columns(4, 8)) is None


def test_strided_convolution_has_few_diagonals():
    matrix, shape = convolution(28, 1, 4, 7, 3, np.random.default_rng(0))
    assert shape == (8, 8, 4)
    placed = layouts.sparse([matrix], columns(784, 1024))
    check(placed, matrix, columns(784, 1024))
    in_order = np.arange(1024, dtype=np.int32)[None]
    plain = layouts.at([matrix], columns(784, 1024), np.where(in_order < 256, in_order, -1))
    assert len(placed.matrices[0][0]) <= 84 < 400 < len(plain.matrices[0][0])


def test_channels_are_shifted_copies_in_several_ciphertexts():
    # Rows of 8 positions: 4 input channels at multiples of 64, and 8 output channels, 4 in each of two ciphertexts.
    matrix, shape = convolution(8, 4, 8, 3, 1, np.random.default_rng(1))
    table = np.full((1, 256), -1)
    for channel in range(4):
        table[0, 64 * channel : 64 * (channel + 1)] = 4 * np.arange(64) + channel
    placed = layouts.sparse([matrix], table)
    check(placed, matrix, table)
    assert shape == (6, 6, 8) and placed.features.shape == (2, 256)
    # Four differences of channels and nine offsets, for each of two ciphertexts.
    assert len(placed.matrices[0][0]) == 2 * 4 * 9


def test_irregular_maps_fill_several_ciphertexts():
    random = np.random.default_rng(2)
    matrix = csr_array(random.normal(size=(70, 24)) * (random.random((70, 24)) < 0.2))
    placed = layouts.sparse([matrix], columns(24, 32))
    assert placed.features.shape == (3, 32)
    check(placed, matrix, columns(24, 32))


@pytest.mark.parametrize("seed", range(5))
def test_split_reaches_every_diagonal(seed):
    random = np.random.default_rng(seed)
    diagonals = random.choice(64, 20, replace=False)
    split = rotations.split(diagonals, 64, 1, 1)
    counted = (diagonals - split.start) % 64
    babies, giants = np.unique(counted % split.base), np.unique(counted - counted % split.base)
    assert set(((babies[:, None] + giants[None] + split.start) % 64).reshape(-1)) >= set(diagonals)
    assert np.count_nonzero(babies) + np.count_nonzero(giants) == split.babies + split.giants


def test_split_of_all_diagonals_takes_two_square_roots():
    split = rotations.split(np.arange(256), 256, 1, 1)
    assert split.babies + split.giants == 2 * 15
