"""Augmented inputs: the same records, slightly moved, each of them a query of its own. Pure NumPy.

A model that was trained on a record, or on its augmented copies, has also learned the record's neighborhood. An attack
that reads a signal on several queries takes one `Signals` for each; `label_only` reads the share of queries that are
still right.

Each function returns a list of arrays of x's shape and float type, the original first. Random draws are made once for
all records: a record's copies do not depend on the other records or on their order.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from gecko_jax import checks
from gecko_jax.probes.layouts import in_layout
from gecko_jax.probes.records import check_images, check_inputs, check_scale, generator
from gecko_jax.types import Array

PADDINGS = ("edge", "zero")  # at the border, repeat the nearest pixel, or fill with 0


def flips_and_shifts(
    x: Array, shifts: Sequence[int] = (1,), padding: str = "edge", layout: str | None = None
) -> list[np.ndarray]:
    """Returns the image, its eight translations at each distance, and the same horizontally flipped.

    The queries of LiRA on images (Carlini et al. 2022, section V-B): 2 * (1 + 8 * len(shifts)), 18 by default.

    Args:
      x: images, floats, [n, height, width, channels] or, channels first, [n, channels, height, width].
      shifts: distances in pixels, each below height and width; () for the flip alone.
      padding: one of PADDINGS.
      layout: "channels_last" or "channels_first"; if None, the one that x's shape suggests.

    Raises:
      ValueError: x that does not hold images, an ambiguous layout, NaN, a shift that is not in 1..side-1.

    >>> len(flips_and_shifts(np.zeros((5, 8, 8, 1))))
    18
    """
    x, layout = check_images(x, layout)
    around = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
    moves = [(0, 0), *((checks.integer("shift", d, 1) * i, d * j) for d in shifts for i, j in around)]

    def moved(x):
        return [_shifted(side, move, padding) for side in (x, x[:, :, ::-1]) for move in moves]

    return in_layout(moved, x, layout)


def translations(x: Array, d: int = 1, padding: str = "edge", layout: str | None = None) -> list[np.ndarray]:
    """Returns the image and its translations by i and j pixels with |i| + |j| = d: 4 d + 1 queries.

    Args:
      x: images, floats, [n, height, width, channels] or, channels first, [n, channels, height, width].
      d: distance in pixels, below height and width.
      padding: one of PADDINGS.
      layout: "channels_last" or "channels_first"; if None, the one that x's shape suggests.

    Raises:
      ValueError: x that does not hold images, an ambiguous layout, NaN, a distance that is not in 1..side-1.

    Source: Choquette-Choo et al., "Label-only membership inference attacks", 2021, section 4.1.

    >>> len(translations(np.zeros((5, 8, 8, 1)), d=2))
    9
    """
    x, layout = check_images(x, layout)
    d = checks.integer("d", d, 1)
    moves = [(i, j) for i in range(-d, d + 1) for j in sorted({d - abs(i), abs(i) - d})]
    return in_layout(lambda x: [_shifted(x, move, padding) for move in [(0, 0), *moves]], x, layout)


def rotations(
    x: Array, degrees: float | Sequence[float], padding: str = "edge", layout: str | None = None
) -> list[np.ndarray]:
    """Returns the image and its rotations about its center by +r and -r degrees for each r: bilinear, of the same size.

    Args:
      x: images, floats, [n, height, width, channels] or, channels first, [n, channels, height, width].
      degrees: one r or several, each in 0..180.
      padding: one of PADDINGS.
      layout: "channels_last" or "channels_first"; if None, the one that x's shape suggests.

    Raises:
      ValueError: x that does not hold images, an ambiguous layout, NaN, an angle out of bounds.

    Source: Choquette-Choo et al. 2021, section 4.1, which takes one r: 3 queries.

    >>> len(rotations(np.zeros((5, 8, 8, 1)), [5.0, 10.0]))
    5
    """
    x, layout = check_images(x, layout)
    checks.one_of("padding", padding, PADDINGS)
    angles = [checks.in_range("degrees", float(r), 0, 180) for r in np.atleast_1d(degrees)]
    signed = [angle for r in angles for angle in (r, -r)]
    return in_layout(lambda x: [x.copy(), *(_rotated(x, angle, padding) for angle in signed)], x, layout)


def noise(x: Array, scale: float | Array, copies: int, key: int | jax.Array) -> list[np.ndarray]:
    """Returns the record and `copies` of x + scale * u, u standard Gaussian: for features of any shape.

    The k-th copy adds the same u to every record, because records and models must be compared under one noise.

    Args:
      x: [n, ...] floats.
      scale: standard deviation of the noise, in x's own unit; or one for each feature [...], 0 if it stays as it is,
        for features in units of their own.
      copies: how many, besides the original.
      key: seed or JAX key of the draws.

    Raises:
      ValueError: NaN inputs, a scale or number of copies out of bounds.

    >>> len(noise(np.zeros((5, 3)), scale=0.1, copies=2, key=0))
    3
    """
    x = check_inputs(x)
    scale = check_scale(scale, x)
    draws = generator(key, "noise").standard_normal((checks.integer("copies", copies, 1), 1, *x.shape[1:]))
    return [x.copy(), *(x + (scale * u).astype(x.dtype) for u in draws)]


def _shifted(x: np.ndarray, move: tuple[int, int], padding: str) -> np.ndarray:
    """Returns x translated down and to the right by `move` pixels (up and to the left if negative)."""
    checks.one_of("padding", padding, PADDINGS)
    side = min(x.shape[1:3])
    for pixels in move:
        if pixels:
            checks.in_range("shift", abs(pixels), 1, side - 1)
    (down, right), far = move, max(abs(pixels) for pixels in move)
    border = [(0, 0), (far, far), (far, far), (0, 0)]
    wide = np.pad(x, border, mode="edge" if padding == "edge" else "constant")
    return wide[:, far - down : far - down + x.shape[1], far - right : far - right + x.shape[2]].copy()


def _rotated(x: np.ndarray, degrees: float, padding: str) -> np.ndarray:
    """Returns x rotated counterclockwise, as seen with the first row on top."""
    height, width = x.shape[1:3]
    angle = np.deg2rad(degrees)
    rows, columns = np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    # Where each pixel comes from: the inverse rotation, about the center.
    above = np.cos(angle) * rows + np.sin(angle) * columns + (height - 1) / 2
    left = np.cos(angle) * columns - np.sin(angle) * rows + (width - 1) / 2
    result = np.zeros_like(x)
    for i in (0, 1):
        for j in (0, 1):
            row, column = np.floor(above).astype(int) + i, np.floor(left).astype(int) + j
            weight = (1 - np.abs(above - row)) * (1 - np.abs(left - column))
            if padding == "zero":
                weight = weight * ((row >= 0) & (row < height) & (column >= 0) & (column < width))
            corner = x[:, np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
            result += corner * weight.astype(x.dtype)[None, :, :, None]
    return result
