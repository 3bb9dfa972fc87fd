"""XNOR-Net's K against a loop over windows."""

from __future__ import annotations

import itertools

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import quantizers

K = quantizers.xnor_input(scaling=True).gain
X = np.random.default_rng(1).normal(size=(2, 7, 6, 4)).astype(np.float32)


def pads_of(padding, size, strides, dilation, shape):
    if padding == "VALID":
        return [(0, 0)] * len(size)
    if padding == "SAME":
        pads = []
        for length, k, s, d in zip(shape, size, strides, dilation, strict=True):
            total = max((-(-length // s) - 1) * s + (k - 1) * d + 1 - length, 0)
            pads.append((total // 2, total - total // 2))
        return pads
    padding = [padding] * len(size) if isinstance(padding, int) else padding
    return [(p, p) if isinstance(p, int) else p for p in padding]


def naive(x, size, strides, padding, dilation, groups, features):
    """K of each output: the sum of |x| in its window and group, over the filter's size, zeros outside the image."""
    rank = len(size)
    pads = pads_of(padding, size, strides, dilation, x.shape[1:-1])
    padded = np.pad(np.abs(x.astype(np.float64)), [(0, 0), *pads, (0, 0)])
    sides = zip(padded.shape[1:-1], size, strides, dilation, strict=True)
    outs = [(n - (k - 1) * d - 1) // s + 1 for n, k, s, d in sides]
    wide, out = x.shape[-1] // groups, np.zeros((len(x), *outs, features))
    for place in itertools.product(*map(range, outs)):
        total = np.zeros((len(x), groups))
        for tap in itertools.product(*map(range, size)):
            at = tuple(place[i] * strides[i] + tap[i] * dilation[i] for i in range(rank))
            pixel = padded[(slice(None), *at)]
            for group in range(groups):
                total[:, group] += pixel[:, group * wide : (group + 1) * wide].mean(-1)
        out[(slice(None), *place)] = np.repeat(total / np.prod(size), features // groups, axis=-1)
    return out


@pytest.mark.parametrize("padding", ["SAME", "VALID", 1, (2, 0), ((1, 2), (0, 1))])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_convolutions(padding, strides):
    layer = nn.Conv(3, (3, 2), strides=strides, padding=padding)
    actual = np.broadcast_to(K(jnp.asarray(X), layer), naive(X, (3, 2), strides, padding, (1, 1), 1, 3).shape)
    np.testing.assert_allclose(actual, naive(X, (3, 2), strides, padding, (1, 1), 1, 3), rtol=1e-5)


def test_dilated_windows_and_groups():
    layer = nn.Conv(6, (2, 2), strides=2, padding="SAME", kernel_dilation=2, feature_group_count=2)
    expected = naive(X, (2, 2), (2, 2), "SAME", (2, 2), 2, 6)
    np.testing.assert_allclose(K(jnp.asarray(X), layer), expected, rtol=1e-5)


def test_one_dimension_and_other_batch_axes():
    rows = X.reshape(-1, 6, 4)
    expected = naive(rows, (3,), (1,), "SAME", (1,), 1, 1)
    for layer in (nn.Conv(1, 3), nn.Conv(1, (3,), strides=None), nn.Conv(1, (3,), strides=1)):
        np.testing.assert_allclose(K(jnp.asarray(rows), layer), expected, rtol=1e-5)
        np.testing.assert_allclose(K(jnp.asarray(X), layer), expected.reshape(2, 7, 6, 1), rtol=1e-5)
    np.testing.assert_allclose(K(jnp.asarray(rows[0]), nn.Conv(1, 3)), expected[0], rtol=1e-5)


def test_dense_layers():
    np.testing.assert_allclose(K(jnp.asarray(X), nn.Dense(3))[..., 0], np.abs(X).mean(-1), rtol=1e-6)


CAUSAL, CIRCULAR = nn.Conv(1, (3,), padding="CAUSAL"), nn.Conv(1, 3, padding="CIRCULAR")


@pytest.mark.parametrize("layer", [CAUSAL, CIRCULAR, nn.ConvTranspose(1, (3,)), nn.LayerNorm()])
def test_other_layers_are_named(layer):
    with pytest.raises(ValueError, match=f"layer {type(layer).__name__}"):
        K(jnp.ones((2, 6, 4)), layer)


def test_no_gain_without_scaling():
    assert quantizers.xnor_input().gain is None
