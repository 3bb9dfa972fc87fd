"""Polynomials that come close to a function on an interval: by least squares, at Chebyshev's nodes, or minimax (Remez).

  method          minimizes                        its error
  least_squares   the mean squared error           is small where most values are, larger at the ends
  chebyshev       nothing: it interpolates         is close to the smallest possible maximum
  remez           the maximum error                alternates between +max and -max at degree + 2 points

A fit says nothing about values outside of its interval, where it grows as x^degree. NumPy, float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.polynomial import Polynomial, chebyshev, legendre
from scipy.special import erf, expit

from gecko_jax import checks
from gecko_jax.types import Array

Function = Callable[[np.ndarray], np.ndarray]  # float64 [n] -> float64 [n]

MAX_DEGREE = 64
GRID_POINTS = 20_001
MAX_EXCHANGES = 100
POINTS_PER_PEAK = 40  # of the coarse grid
RELATIVE_GAP = 1e-6  # of the largest error on the grid over the smallest peak, at which an exchange ends
ROUNDING = 1e-12  # of the function's largest value, an error that is not reduced further
_PANELS, _NODES = 64, 16  # of the composite Gauss-Legendre quadrature

FUNCTIONS: dict[str, Function] = {
    "gelu": lambda x: x * 0.5 * (1 + erf(x / math.sqrt(2))),
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": expit,
}


class PolynomialFit(NamedTuple):
    """A polynomial on an interval, sum_k coefficients[k] T_k(u) with u = (2 x - low - high) / (high - low).

    Attributes:
      coefficients: of the Chebyshev polynomials T_k, ascending: in powers of x a high degree would lose all digits.
      interval: (low, high).
      max_error: the largest distance to the function on a grid of the interval.

    >>> fit_polynomial("relu", (-1.0, 1.0), 2).ascending.round(3).tolist()  # 3/32 + x/2 + 15/32 x^2
    [0.094, 0.5, 0.469]
    >>> round(float(fit_polynomial("relu", (-1.0, 1.0), 2, "remez")(np.zeros(1))[0]), 6)  # 1/16 + x/2 + x^2/2
    0.0625
    """

    coefficients: tuple[float, ...]
    interval: tuple[float, float]
    max_error: float

    def __call__(self, x: Array) -> np.ndarray:
        """Returns the polynomial at x, float64 of x's shape."""
        return chebyshev.chebval(_scaled(np.asarray(x, np.float64), self.interval), self.coefficients)

    @property
    def ascending(self) -> np.ndarray:
        """Returns the coefficients of 1, x, x^2, ..."""
        series = chebyshev.Chebyshev(self.coefficients, domain=self.interval)
        ascending = series.convert(kind=Polynomial, domain=[-1, 1], window=[-1, 1]).coef
        return np.pad(ascending, (0, len(self.coefficients) - len(ascending)))


def fit_polynomial(
    function: str | Function, interval: tuple[float, float], degree: int, method: str = "least_squares"
) -> PolynomialFit:
    """Fits a polynomial to a function on an interval.

    Args:
      function: one of FUNCTIONS, or a function of float64 arrays [n].
      interval: (low, high), such as a layer's range on the training data.
      degree: 1 to 64.
      method: one of METHODS.

    Returns:
      A PolynomialFit, with its largest error.

    Raises:
      ValueError: an unknown name, an empty interval, a degree out of bounds, a function that is not finite there.

    Source: Trefethen, "Approximation Theory and Approximation Practice" (2013), chapters 4 and 10.

    >>> fit = fit_polynomial("sigmoid", (-8.0, 8.0), 7, "remez")
    >>> round(fit.max_error, 4)
    0.0189
    """
    f = checks.lookup("function", function, FUNCTIONS) if isinstance(function, str) else function
    low, high = (float(checks.finite("interval", end)) for end in checks.shape("interval", interval, (2,)))
    if low >= high:
        raise ValueError(f"interval={interval!r} must be (low, high) with low below high.")
    checks.in_range("degree", checks.integer("degree", degree, 1), 1, MAX_DEGREE)
    solve = checks.lookup("method", method, METHODS)

    def of_u(u: np.ndarray) -> np.ndarray:
        return np.asarray(checks.finite("function(x)", f(0.5 * (low + high) + 0.5 * (high - low) * u)), np.float64)

    kink = _scaled(np.zeros(1), (low, high))  # of ReLU, which no panel may contain
    coefficients = solve(of_u, degree, kink[np.abs(kink) < 1])
    grid = _grid(kink)
    error = float(np.abs(of_u(grid) - chebyshev.chebval(grid, coefficients)).max())
    return PolynomialFit(tuple(float(each) for each in coefficients), (low, high), error)


def least_squares(of_u: Function, degree: int, kinks: np.ndarray) -> np.ndarray:
    """Returns the Chebyshev coefficients that minimize the integral of the squared error over -1..1.

    Args:
      of_u: the function on -1..1.
      degree: of the polynomial.
      kinks: where it has no derivative.
    """
    ends = np.unique(np.concatenate([np.linspace(-1, 1, _PANELS + 1), kinks]))
    nodes, weights = legendre.leggauss(max(_NODES, degree + 1))
    half = np.diff(ends)[:, None] / 2
    u, w = ((ends[:-1, None] + half) + half * nodes).ravel(), (half * weights).ravel()
    root = np.sqrt(w)
    return np.linalg.lstsq(chebyshev.chebvander(u, degree) * root[:, None], of_u(u) * root, rcond=None)[0]


def interpolation(of_u: Function, degree: int, kinks: np.ndarray) -> np.ndarray:
    """Returns the Chebyshev coefficients of the polynomial through the function at Chebyshev's degree + 1 nodes.

    Args:
      of_u, degree, kinks: see `least_squares`.
    """
    del kinks
    nodes = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    return np.linalg.solve(chebyshev.chebvander(nodes, degree), of_u(nodes))


def remez(of_u: Function, degree: int, kinks: np.ndarray) -> np.ndarray:
    """Returns the Chebyshev coefficients whose largest error is smallest, by Remez's exchange on a grid.

    Args:
      of_u, degree, kinks: see `least_squares`.

    Raises:
      ValueError: a function for which the exchange does not end.
    """
    grid = _grid(kinks)
    values = of_u(grid)
    rounding = ROUNDING * np.abs(values).max()
    coefficients = _minimax_of_points(of_u, degree, kinks)
    for _ in range(MAX_EXCHANGES):
        error = values - chebyshev.chebval(grid, coefficients)
        peaks = _alternating(error, degree + 2)
        if np.abs(error).max() <= np.abs(error[peaks]).min(initial=np.inf) * (1 + RELATIVE_GAP) + rounding:
            return coefficients
        if len(peaks) < degree + 2:
            break
        signs = (-1.0) ** np.arange(degree + 2)
        system = np.column_stack([chebyshev.chebvander(grid[peaks], degree), signs])
        coefficients = np.linalg.solve(system, values[peaks])[:-1]
    raise ValueError(
        f"remez finds no alternating error of a polynomial of degree {degree}: the function may jump, or be one of "
        'lower degree but for noise. Take method="least_squares", or a lower degree.'
    )


def _minimax_of_points(of_u: Function, degree: int, kinks: np.ndarray) -> np.ndarray:
    """Returns the minimax coefficients on a coarse grid, by a linear program, from which the exchange starts.

    The textbook's start at Chebyshev's extrema fails for functions with a symmetry, such as ReLU minus x / 2.
    """
    from scipy.optimize import linprog  # here: slow to import

    points = _grid(kinks, POINTS_PER_PEAK * (degree + 2))
    basis, values = chebyshev.chebvander(points, degree), of_u(points)
    level = np.ones((len(points), 1))
    result = linprog(
        np.eye(degree + 2)[-1],
        A_ub=np.block([[basis, -level], [-basis, -level]]),
        b_ub=np.concatenate([values, -values]),
        bounds=(None, None),
    )
    if result.x is None:
        raise ValueError(f'remez cannot start: {result.message} Take method="least_squares", or a lower degree.')
    return result.x[:-1]


METHODS = {"chebyshev": interpolation, "least_squares": least_squares, "remez": remez}


def _alternating(error: np.ndarray, count: int) -> np.ndarray:
    """Returns indices of `count` extrema of alternating sign, the largest among them; fewer if there are fewer."""
    signs = np.sign(error)
    signs[signs == 0] = 1
    runs = np.split(np.arange(len(error)), np.flatnonzero(np.diff(signs)) + 1)
    peaks = [int(run[np.argmax(np.abs(error[run]))]) for run in runs]
    while len(peaks) > count:  # the signs still alternate if an end goes, or two neighbors
        size = np.abs(error[peaks])
        if len(peaks) == count + 1:
            del peaks[0 if size[0] < size[-1] else -1]
            continue
        pair = int(np.argmin(np.maximum(size[:-1], size[1:])))
        del peaks[pair : pair + 2]
    return np.array(peaks)


def _scaled(x: np.ndarray, interval: tuple[float, float]) -> np.ndarray:
    low, high = interval
    return (2 * x - low - high) / (high - low)


def _grid(kinks: np.ndarray, points: int = GRID_POINTS) -> np.ndarray:
    """Returns points of -1..1, denser at the ends, with the kinks among them."""
    return np.unique(np.concatenate([np.cos(np.linspace(np.pi, 0, points)), kinks[np.abs(kinks) < 1]]))
