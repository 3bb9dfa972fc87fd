"""Log densities of what attacks fit to a record's signal, without constants that cancel in a ratio of two of a kind."""

from __future__ import annotations

import numpy as np
from scipy import special


def log_normal(x: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Returns the log density of a normal distribution at x, plus log(2 pi) / 2.

    >>> float(log_normal(np.array(2.0), np.array(0.0), np.array(1.0)))
    -2.0
    """
    z = (x - mean) / scale
    return -(z**2) / 2 - np.log(scale)


def log_student(x: np.ndarray, mean: np.ndarray, scale: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Returns the log density of a Student t with `freedom` degrees of freedom at x, plus log(pi) / 2.

    >>> round(float(log_student(np.array(0.0), np.array(0.0), np.array(1.0), np.array(1.0))), 6)  # -log(pi) / 2
    -0.572365
    """
    z = (x - mean) / scale
    half = (freedom + 1) / 2
    constant = special.gammaln(half) - special.gammaln(freedom / 2) - np.log(freedom) / 2
    return constant - half * np.log1p(z**2 / freedom) - np.log(scale)
