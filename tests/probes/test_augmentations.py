"""Augmented inputs against SciPy, NumPy and plain loops over pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from gecko_jax.probes import augmentations


def images(n=3, height=7, width=6, channels=2, dtype=np.float64):
    return np.random.default_rng(0).random((n, height, width, channels)).astype(dtype)


def moved(x, down, right, padding):
    """Pixel by pixel."""
    result = np.zeros_like(x)
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            k, m = i - down, j - right
            if padding == "edge":
                result[:, i, j] = x[:, min(max(k, 0), x.shape[1] - 1), min(max(m, 0), x.shape[2] - 1)]
            elif 0 <= k < x.shape[1] and 0 <= m < x.shape[2]:
                result[:, i, j] = x[:, k, m]
    return result


def same_sets(results, expected):
    """As many, and each expected one stands once among those found."""
    assert len(results) == len(expected)
    left = list(results)
    for one in expected:
        left.pop(next(i for i, other in enumerate(left) if np.array_equal(one, other)))


@pytest.mark.parametrize("padding", augmentations.PADDINGS)
@pytest.mark.parametrize("d", [1, 3])
def test_translations_are_the_diamond(d, padding):
    x = images()
    diamond = [(i, j) for i in range(-d, d + 1) for j in range(-d, d + 1) if abs(i) + abs(j) == d]
    assert len(diamond) == 4 * d
    results = augmentations.translations(x, d, padding)
    np.testing.assert_array_equal(results[0], x)
    same_sets(results, [x, *(moved(x, i, j, padding) for i, j in diamond)])


@pytest.mark.parametrize("padding", augmentations.PADDINGS)
def test_flips_and_shifts_are_both_sides_of_all_neighbors(padding):
    x, shifts = images(), (1, 4)
    moves = [(0, 0), *((d * i, d * j) for d in shifts for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j)]
    results = augmentations.flips_and_shifts(x, shifts, padding)
    np.testing.assert_array_equal(results[0], x)
    same_sets(results, [moved(side, i, j, padding) for side in (x, np.flip(x, 2)) for i, j in moves])
    assert [len(augmentations.flips_and_shifts(x, some)) for some in ((), (1,), (1, 2))] == [2, 18, 34]
    np.testing.assert_array_equal(augmentations.flips_and_shifts(x, ())[1], np.flip(x, 2))


@given(st.floats(0, 180), st.sampled_from(augmentations.PADDINGS))
@settings(derandomize=True, deadline=None, max_examples=30)
def test_rotations_are_scipys(degrees, padding):
    x = images()
    mode = {"edge": "nearest", "zero": "grid-constant"}[padding]
    original, *turned = augmentations.rotations(x, degrees, padding)
    np.testing.assert_array_equal(original, x)
    for one, angle in zip(turned, (degrees, -degrees), strict=True):
        expected = ndimage.rotate(x, angle, axes=(2, 1), reshape=False, order=1, mode=mode)
        np.testing.assert_allclose(one, expected, atol=1e-9)


def test_a_quarter_turn_is_numpys_and_no_turn_is_none():
    x = images(height=6)
    results = augmentations.rotations(x, [90, 0])
    np.testing.assert_allclose(results[1], np.rot90(x, 1, axes=(1, 2)), atol=1e-12)
    np.testing.assert_allclose(results[2], np.rot90(x, -1, axes=(1, 2)), atol=1e-12)
    np.testing.assert_array_equal(results[3], x)
    assert len(results) == 5


def test_noise_is_gaussian_of_its_scale_and_the_same_for_all_records():
    x = np.random.default_rng(1).random((4, 3000)).astype(np.float32)
    original, *noisy = augmentations.noise(x, 0.5, 3, key=7)
    np.testing.assert_array_equal(original, x)
    added = np.array([copy - x for copy in noisy])
    for one in added.reshape(-1, 3000):
        assert abs(one.mean()) < 4 * 0.5 / np.sqrt(3000) and abs(one.std() / 0.5 - 1) < 4 / np.sqrt(6000)
    np.testing.assert_allclose(added, np.broadcast_to(added[:, :1], added.shape), atol=1e-6)
    assert abs(np.corrcoef(added[:, 0])[np.triu_indices(3, 1)]).max() < 4 / np.sqrt(3000)
    assert np.abs(augmentations.noise(x, 0.5, 3, key=8)[1] - noisy[0]).max() > 0.1


def test_a_jax_key_serves_as_well_as_a_seed():
    import jax

    x = images()
    for one, same in zip(*(augmentations.noise(x, 1.0, 2, jax.random.key(3)) for _ in range(2)), strict=True):
        np.testing.assert_array_equal(one, same)
    assert np.abs(augmentations.noise(x, 1.0, 1, jax.random.key(4))[1] - one).max() > 0.1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_types_stay_and_nothing_is_a_view(dtype):
    x = images(dtype=dtype)
    before = x.copy()
    every = [
        *augmentations.flips_and_shifts(x),
        *augmentations.translations(x),
        *augmentations.rotations(x, 5),
        *augmentations.noise(x, 1.0, 1, 0),
    ]
    for copy in every:
        assert copy.dtype == dtype and copy.shape == x.shape
        copy[:] = 9
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: augmentations.translations(x[0]), "expected images"),
        (lambda x: augmentations.rotations(x.reshape(3, -1), 1.0), "expected images"),
        (lambda x: augmentations.flips_and_shifts(x[..., 0]), "expected images"),
        (lambda x: augmentations.translations((255 * x).astype(np.uint8)), "expected floats"),
        (lambda x: augmentations.translations(x[:0]), "x is empty"),
        (lambda x: augmentations.noise(x * np.nan, 1.0, 1, 0), "x holds 252 entries that are NaN"),
        (lambda x: augmentations.translations(x, 0), "d=0"),
        (lambda x: augmentations.translations(x, 6), "shift=6 must lie between 1 and 5"),
        (lambda x: augmentations.translations(x, 1.0), "must be an integer"),
        (lambda x: augmentations.flips_and_shifts(x, (0,)), "shift=0"),
        (lambda x: augmentations.flips_and_shifts(x, (1,), "edges"), "Did you mean 'edge'"),
        (lambda x: augmentations.rotations(x, 1.0, "wrap"), "padding='wrap'"),
        (lambda x: augmentations.rotations(x, [10, 200]), "degrees=200.0"),
        (lambda x: augmentations.noise(x, 0.0, 1, 0), "scale=0.0"),
        (lambda x: augmentations.noise(x, 1.0, 0, 0), "copies=0"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call(images())
