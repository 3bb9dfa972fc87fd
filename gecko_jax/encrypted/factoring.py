"""A polynomial of one variable as constant + f(x) g(x), with real f and g of half its degree.

Both factors are sums of few powers, and the product is one node: whatever reads the polynomial reads one vector instead
of one for each power.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

GRID = np.linspace(-1, 1, 257)
TOLERANCE = 1e-10  # of the largest value on -1..1, between a polynomial and its factors


def without_rounding(coefficients: Sequence[float] | np.ndarray) -> np.ndarray:
    """Returns coefficients over -1..1 with those at zero that are rounding of the largest.

    Args:
      coefficients: ascending.

    >>> without_rounding([1.0, 1e-17, 0.5]).tolist()
    [1.0, 0.0, 0.5]
    """
    values = np.asarray(coefficients, np.float64)
    return np.where(np.abs(values) > 1e-15 * np.abs(values).max(initial=0), values, 0.0)


def factored(coefficients: Sequence[float] | np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Factors a polynomial without its constant term, for arguments in -1..1.

    Args:
      coefficients: ascending, of degree 3 or more; the last is not 0.

    Returns:
      The coefficients of f and g, ascending: f(x) g(x) + coefficients[0] is the polynomial, and the higher degree is at
      most the next power of two from half of its degree on. None if rounding spoils it.

    >>> f, g = factored([2.0, 0.0, -1.0, 0.0, 1.0])  # x^4 - x^2 + 2
    >>> np.convolve(f, g).round(12).tolist(), len(f), len(g)
    ([0.0, 0.0, -1.0, 0.0, 1.0], 3, 3)
    """
    rest = np.array(coefficients, np.float64)
    rest[0] = 0
    degree = len(rest) - 1
    roots = np.roots(rest[::-1])
    if len(roots) != degree:
        return None
    factors = [np.array([0.0, 1.0])]  # the root at 0
    others = list(np.delete(roots, np.argmin(np.abs(roots))))
    for root in sorted(others, key=abs):
        if abs(root.imag) <= 1e-12 * max(1, abs(root)):
            factors.append(_unit(np.array([-root.real, 1.0])))
        elif root.imag > 0:
            factors.append(_unit(np.array([abs(root) ** 2, -2 * root.real, 1.0])))
    if sum(len(each) - 1 for each in factors) != degree:
        return None
    largest = 2 ** (int(np.ceil(np.log2(degree))) - 1)
    sides = [np.ones(1), np.ones(1)]
    for factor in sorted(factors, key=len, reverse=True):
        shorter = 0 if len(sides[0]) <= len(sides[1]) else 1
        sides[shorter] = np.convolve(sides[shorter], factor)
    if max(map(len, sides)) - 1 > largest:
        return None
    f, g = sides
    values = np.polyval(rest[::-1], GRID)
    peak = int(np.argmax(np.abs(values)))
    f = f * values[peak] / (np.polyval(f[::-1], GRID[peak]) * np.polyval(g[::-1], GRID[peak]))
    balance = np.sqrt(np.max(np.abs(np.polyval(f[::-1], GRID))) / np.max(np.abs(np.polyval(g[::-1], GRID))))
    f, g = f / balance, g * balance
    error = np.max(np.abs(np.polyval(f[::-1], GRID) * np.polyval(g[::-1], GRID) - values))
    return (f, g) if error <= TOLERANCE * np.max(np.abs(values)) else None


def _unit(factor: np.ndarray) -> np.ndarray:
    """Returns a factor whose largest coefficient is 1: roots far away leave no large numbers."""
    return factor / np.max(np.abs(factor))
