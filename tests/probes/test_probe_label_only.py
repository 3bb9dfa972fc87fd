"""Label-only robustness against counts by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gecko_jax.probes import noise_robustness, rotation_robustness, translation_robustness
from gecko_jax.probes.records import as_labels


def dot(places, size=9):
    """Images that are black but for one white pixel."""
    x = np.zeros((len(places), size, size, 1), np.float32)
    for image, (i, j) in zip(x, places, strict=True):
        image[i, j] = 1
    return x


def upper(x):
    """Label 1 where the brightest row is above the fifth."""
    row = np.asarray(x).max((2, 3)).argmax(1)
    return np.stack([row >= 4, row < 4], 1).astype(np.float32)


def test_translations_are_counted():
    # From row 3 a shift down by one leaves the upper half; from row 4 only a shift up enters it; d = 2 reaches further.
    x, y = dot([(3, 4), (4, 4), (2, 4), (6, 4)]), np.array([1, 1, 1, 1])
    np.testing.assert_allclose(translation_robustness(upper, x, y), [4 / 5, 1 / 5, 1, 0])
    # |i| + |j| = 2: by 2 down or up 1 each; by 1 down or up 2 each; along the row 2.
    np.testing.assert_allclose(translation_robustness(upper, x, y, 2), [6 / 9, 3 / 9, 8 / 9, 0])
    np.testing.assert_allclose(translation_robustness(upper, x, 1 - y, 2), [3 / 9, 6 / 9, 1 / 9, 1])


def test_rotations_are_counted():
    # At the right end of the center's row, counter-clockwise is up.
    x, y = dot([(4, 8), (4, 0), (0, 4), (8, 4)]), np.array([1, 1, 1, 1])
    np.testing.assert_allclose(rotation_robustness(upper, x, y, 30.0), [1 / 3, 1 / 3, 1, 0])
    np.testing.assert_allclose(rotation_robustness(upper, x, y, (30.0, 40.0, 10.0)), [3 / 7, 3 / 7, 1, 0])


def test_noise_follows_the_normal_distribution():
    margins = np.array([0.0, 0.5, 1.0, 3.0, -1.0], np.float32)
    x = np.zeros((5, 2), np.float32)
    x[:, 0] = margins
    results = noise_robustness(lambda x: (np.asarray(x)[:, 0] > 0).astype(int), x, np.ones(5, int), 2.0, 4000, key=0)
    expected = (4000 * stats.norm.cdf(margins / 2.0) + (margins > 0)) / 4001
    assert np.abs(results - expected).max() < 4 * 0.5 / np.sqrt(4000)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batches_change_nothing_and_are_never_larger(batch_size):
    rng = np.random.default_rng(0)
    x, y, sizes = rng.random((7, 6, 6, 1)).astype(np.float32), rng.integers(0, 3, 7), []
    weight = rng.normal(size=(36, 3))

    def predict(rows):
        sizes.append(len(rows))
        return rows.reshape(len(rows), -1) @ weight

    for probe in (
        lambda **batches: translation_robustness(predict, x, y, 2, **batches),
        lambda **batches: rotation_robustness(predict, x, y, **batches),
        lambda **batches: noise_robustness(predict, x, y, 0.5, 20, 1, **batches),
    ):
        np.testing.assert_array_equal(probe(batch_size=batch_size), probe())
    assert max(sizes) == 7 and min(sizes) == min(7 % batch_size or batch_size, 7)


def test_labels_alone_are_read():
    rng = np.random.default_rng(1)
    x, y = rng.random((20, 5)).astype(np.float32), rng.integers(0, 4, 20)
    weight = rng.normal(size=(5, 4))
    logits = noise_robustness(lambda x: x @ weight, x, y, 0.3, 50, 0)
    for masked in (lambda x: (x @ weight).argmax(1), lambda x: np.eye(4)[(x @ weight).argmax(1)]):
        np.testing.assert_array_equal(noise_robustness(masked, x, y, 0.3, 50, 0), logits)
    assert len(set(logits)) > 5


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ((np.zeros((4, 2)), {}), "returned a tuple"),
        (np.zeros(4), r"shape \(4,\) and dtype float64"),
        (np.zeros((4, 1)), "two classes or more"),
        (np.zeros((3, 2)), "for 4 records"),
        (np.zeros((4, 2, 2)), "output of predict"),
        (np.full((4, 2), np.nan), "NaN"),
    ],
)
def test_bad_outputs_are_named(outputs, words):
    with pytest.raises(ValueError, match=words):
        as_labels(outputs, 4)
