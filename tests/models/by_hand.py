"""NumPy's own quantizers and layers, by loops, for the tests of quantized models: no line of the library."""

from __future__ import annotations

import itertools

import numpy as np


def signs(x):
    return np.where(x >= 0, 1.0, -1.0)


def xnor_filters(w):
    """alpha sign(w), alpha the mean magnitude of a filter; filters in the last axis."""
    out = np.empty(w.shape)
    for f in range(w.shape[-1]):
        out[..., f] = np.abs(w[..., f].astype(np.float64)).mean() * signs(w[..., f])
    return out


def same(length, window, stride):
    """The border of padding SAME: the odd one at the end."""
    total = max((-(-length // stride) - 1) * stride + window - length, 0)
    return total // 2, total - total // 2


def convolve(x, kernel, strides, pads, fill):
    """x [b, h, w, c] with a border of `fill`, window after window."""
    padded = np.pad(x.astype(np.float64), [(0, 0), *pads, (0, 0)], constant_values=fill)
    kh, kw = kernel.shape[:2]
    rows = range(0, padded.shape[1] - kh + 1, strides[0])
    columns = range(0, padded.shape[2] - kw + 1, strides[1])
    out = np.zeros((len(x), len(rows), len(columns), kernel.shape[-1]))
    for (i, r), (j, c) in itertools.product(enumerate(rows), enumerate(columns)):
        out[:, i, j] = np.tensordot(padded[:, r : r + kh, c : c + kw], kernel, 3)
    return out
