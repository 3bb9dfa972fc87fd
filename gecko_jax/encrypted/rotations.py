"""Baby steps and giant steps: a matrix of D diagonals by about 2 sqrt(D) rotations, with few keys.

    y = sum over d of P_d * rot(x, d),    d = giant + baby
      = sum over giants g of rot( sum over babies b of rot(P_{g+b}, -g) * rot(x, b), g )

Each baby is rotated on from the one before, and the giants are summed by Horner's rule, so that a rotation costs a key
per distinct distance, not per step. (Halevi, Shoup: Faster homomorphic linear transformations in HElib, section 4.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Split(NamedTuple):
    """How diagonals are split: d = giant + baby, modulo the number of positions.

    Attributes:
      start: the first diagonal, from which the others are counted.
      base: babies lie in [0, base), giants are multiples of it.
      rotations: of babies, of giants.
    """

    start: int
    base: int
    babies: int
    giants: int


def split(diagonals: np.ndarray, period: int, inputs: int, outputs: int) -> Split:
    """Chooses the base that needs the fewest rotations.

    Args:
      diagonals: distinct integers in [0, period).
      period: positions after which diagonals repeat.
      inputs: ciphertexts that the babies rotate.
      outputs: ciphertexts that the giants rotate.

    Returns:
      The split; its start follows the largest gap between diagonals.

    >>> split(np.arange(64), 64, 1, 1)
    Split(start=0, base=8, babies=7, giants=7)
    """
    ordered = np.sort(diagonals)
    gaps = np.diff(ordered, append=ordered[0] + period)
    last = len(gaps) - 1 - int(np.argmax(gaps[::-1]))  # of equal gaps the last, so that all diagonals start at 0
    start = int(ordered[(last + 1) % len(ordered)])
    counted = (ordered - start) % period
    best = None
    for base in range(1, min(int(counted.max()) + 2, MAX_BASE + 1)):
        babies = np.unique(counted % base)
        giants = np.unique(counted // base)
        nonzero = np.count_nonzero(babies), np.count_nonzero(giants)
        keys = len(_distances(babies)) + len(_distances(giants))
        cost = (nonzero[0] * inputs + nonzero[1] * outputs, keys)
        if best is None or cost < best[0]:
            best = cost, Split(start, base, int(nonzero[0]), int(nonzero[1]))
    assert best is not None
    return best[1]


MAX_BASE = 512


def _distances(steps: np.ndarray) -> set[int]:
    """Distances between adjacent steps, from 0 on: each one is a key."""
    return set(np.diff(steps, prepend=0).tolist()) - {0}
