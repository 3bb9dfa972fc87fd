"""Noise for vectors whose privacy is metric: its draws, nearest neighbors, and the largest distance of a table."""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np
from scipy import special

from gecko_jax import keys

MAX_EXACT = 4096  # rows whose diameter is computed exactly
ENTRIES_PER_BLOCK = 2**24  # distances, or draws, at once


def metric_noise(count: int, dimensions: int, epsilon: float, uniforms: Any) -> np.ndarray:
    """Draws vectors whose density is proportional to exp(-epsilon |z|).

    Args:
      count: number of vectors.
      dimensions: d.
      epsilon: above 0; the mean length is d / epsilon.
      uniforms: (shape) -> uniform float64 above 0 and below 1.

    Returns:
      float64 [count, d].

    >>> metric_noise(2, 3, 1.0, lambda shape: np.full(shape, 0.25)).shape
    (2, 3)
    """
    direction = special.ndtri(uniforms((count, dimensions)))
    length = special.gammaincinv(dimensions, uniforms((count, 1))) / epsilon
    return direction * (length / np.linalg.norm(direction, axis=1, keepdims=True))


def uniform_source(seed: int | None, block: int) -> Any:
    """Returns a function (shape) -> middles of 2^52 equal parts of 0..1, by the system's bits or by a seed's.

    Args:
      seed: in 0..2^32-1, or None for bits from the operating system.
      block: which part of the draws of that seed.

    >>> float(uniform_source(0, 0)((1,))[0]) == float(uniform_source(0, 1)((1,))[0])
    False
    """
    draws = None if seed is None else keys.generator(seed, "word noise", block)

    def uniforms(shape: tuple[int, ...]) -> np.ndarray:
        count = int(np.prod(shape))
        data = secrets.token_bytes(8 * count) if draws is None else draws.bytes(8 * count)
        return ((np.frombuffer(data, np.uint64) >> np.uint64(12)) + 0.5).reshape(shape) * 2.0**-52

    return uniforms


def nearest(points: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Returns the row of `table` that is nearest to each point, the first of equals.

    Args:
      points: [n, d].
      table: [k, d].

    >>> nearest(np.array([[0.2], [0.9]]), np.array([[0.0], [1.0]])).tolist()
    [0, 1]
    """
    return np.argmin((table**2).sum(1)[None] - 2 * points @ table.T, axis=1)


def diameter_of(table: np.ndarray) -> float:
    """Returns the largest distance of two rows; for many rows twice the largest from the center, which is not less.

    Args:
      table: [k, d].

    >>> diameter_of(np.array([[0.0], [1.0], [3.0]]))
    3.0
    """
    centered = table - table.mean(0)[None]
    if len(table) > MAX_EXACT:
        return float(2 * np.linalg.norm(centered, axis=1).max())
    squares, largest = (centered**2).sum(1), 0.0
    size = max(1, ENTRIES_PER_BLOCK // len(table))
    for start in range(0, len(table), size):
        block = centered[start : start + size]
        distances = squares[start : start + size, None] + squares[None] - 2 * block @ centered.T
        i, j = np.unravel_index(np.argmax(distances), distances.shape)
        largest = max(largest, float(np.linalg.norm(block[i] - centered[j])))
    return largest
