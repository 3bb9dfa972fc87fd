"""Patches against loops over positions and places of a kernel."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gecko_jax import convolutions
from gecko_jax.convolutions.patches import MAX_SLICED_PLACES


def naive(x, size, strides, dilation):
    """{(position, place): pixel}, position by position."""
    spatial = x.shape[-len(size) - 1 : -1]
    inside = [range(0, n - (k - 1) * d, s) for n, k, s, d in zip(spatial, size, strides, dilation, strict=True)]
    corners = list(itertools.product(*inside))
    places = list(itertools.product(*map(range, size)))

    def pixel(corner, place):
        return x[(..., *(c + p * d for c, p, d in zip(corner, place, dilation, strict=True)), slice(None))]

    pixels = [[pixel(corner, place) for place in places] for corner in corners]
    return np.moveaxis(np.array(pixels), (0, 1), (-3, -2)), tuple(len(axis) for axis in inside)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(st.data())
def test_patches_are_what_a_loop_collects(data):
    rank = data.draw(st.integers(1, 3))
    axes = st.tuples(*[st.integers(1, 3)] * rank)
    size, strides, dilation = data.draw(axes), data.draw(axes), data.draw(axes)
    spatial = [(k - 1) * d + 1 + data.draw(st.integers(0, 3)) for k, d in zip(size, dilation, strict=True)]
    x = np.random.default_rng(0).normal(size=(2, 3, *spatial, data.draw(st.integers(1, 2)))).astype(np.float32)
    expected, positions = naive(x, size, strides, dilation)
    assert convolutions.output_size(spatial, size, strides, dilation) == positions
    functions = (convolutions.stacked_patches, convolutions.patches)
    stacked, flat = jax.jit(lambda x: [each(x, size, strides, dilation) for each in functions])(x)
    np.testing.assert_array_equal(stacked, expected)
    np.testing.assert_array_equal(flat, expected.reshape(2, 3, *positions, -1))


def test_a_large_kernel_is_collected_by_a_gather_and_sees_the_same():
    x, size = np.arange(2 * 14 * 13 * 2, dtype=np.float32).reshape(1, 2, 14, 13, 2), (13, 11)
    assert np.prod(size) > MAX_SLICED_PLACES
    expected, _ = naive(x, size, (1, 2), (1, 1))
    np.testing.assert_array_equal(convolutions.stacked_patches(x, size, (1, 2), (1, 1)), expected)


@pytest.mark.parametrize(
    "padding, pairs", [("VALID", [(0, 0), (0, 0)]), (2, [(2, 2), (2, 2)]), ([1, (0, 3)], [(1, 1), (0, 3)])]
)
def test_padding_is_written_out(padding, pairs):
    assert convolutions.explicit_padding(padding, (7, 6), (3, 2), (2, 1), (1, 2)) == pairs


def test_a_border_has_its_value():
    words = np.zeros((1, 2, 1, 1), np.uint32)
    words = np.asarray(convolutions.add_border(words, [(1, 0), (0, 2)], np.uint32(0xFFFFFFFF)))
    assert words.dtype == np.uint32 and words.shape == (1, 3, 3, 1)
    assert (words[0, 0] == 0xFFFFFFFF).all() and (words[0, 1:, 0] == 0).all()
