"""Draws and choices of HopSkipJump before its walks, in NumPy: directions, and the inputs to begin from."""

from __future__ import annotations

import numpy as np
from scipy import fft

from gecko_jax.probes.hopskipjump_walk import GROUP, by_label

MIN_TRANSFORM_VALUES = 256  # of an input, from which `directions` uses cosine transforms instead of a QR


def directions(rng: np.random.Generator, groups: int, d: int) -> np.ndarray:
    """Returns unit vectors [groups * GROUP, d] float32, each uniform on the sphere, d of them at a time orthogonal.

    Signs of w.u along orthogonal u tell more about w than along independent ones: with a basis of d directions the
    estimate has a cosine of sqrt(2 / pi) = .80 with w, with d independent ones .62.

    A basis is Q of a Gaussian matrix with R's diagonal positive, which is uniform among the rotations; for large d,
    where that is slow, three cosine transforms with random signs after each, which is nearly uniform.

    >>> drawn = directions(np.random.default_rng(0), groups=1, d=3)
    >>> np.allclose(drawn[:3] @ drawn[:3].T, np.eye(3), atol=1e-6)
    True
    """
    parts, missing, signs = [], groups * GROUP, np.array([-1, 1], np.float32)
    while missing > 0:
        if d <= MIN_TRANSFORM_VALUES:
            q, r = np.linalg.qr(rng.standard_normal((d, d)))
            basis = (q * np.sign(np.diagonal(r))).T
        else:
            basis = np.eye(min(missing, d), d, dtype=np.float32)
            for _ in range(3):
                basis = np.asarray(fft.dct(basis, axis=1, norm="ortho")) * rng.choice(signs, d)
        parts.append(basis[:missing].astype(np.float32))
        missing -= len(parts[-1])
    return np.concatenate(parts)


def beginnings(x: np.ndarray, y: np.ndarray, starts: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns numbers [n, GROUP or fewer] of the starts that records x [n, d] of labels y [n] begin from.

    The nearest of every label but the record's own, then the second nearest of every label, and so on; the first again
    if there are no more. If all starts have the record's label, the numbers mean nothing.
    """
    count = min(GROUP, len(starts))
    which = np.zeros((len(x), count), np.int32)
    for i, (row, label) in enumerate(zip(x, y, strict=True)):
        other = np.flatnonzero(labels != label)
        if len(other):
            order = other[by_label(labels[other], ((starts[other] - row) ** 2).sum(1))][:count]
            which[i] = np.append(order, np.repeat(order[:1], count - len(order)))
    return which
