"""The privacy of a Gaussian mechanism, exactly: mu-Gaussian differential privacy as an epsilon at a delta."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import special

from gecko_jax import checks
from gecko_jax.types import Array

ASSUMPTIONS = ("dp", "gaussian")


def log_gaussian_delta(mu: Array | float, epsilon: Array | float) -> np.ndarray:
    """Returns the logarithm of the smallest delta with which a mu-Gaussian mechanism is (epsilon, delta)-private.

    delta = Phi(mu / 2 - epsilon / mu) - exp(epsilon) Phi(-mu / 2 - epsilon / mu). Both terms are one density times
    Mills' ratios of their arguments, therefore nothing overflows or underflows, however large epsilon is.

    Args:
      mu: at least 0, a number or an array: sensitivity over the noise's standard deviation.
      epsilon: at least 0, likewise; the two are broadcast.

    Returns:
      Natural logarithms, -inf if mu is 0.

    Source: Balle and Wang, "Improving the Gaussian Mechanism" (2018), theorem 8.

    >>> round(float(np.exp(log_gaussian_delta(1.0, 4.377))), 7)
    1e-05
    """
    mu, epsilon = np.broadcast_arrays(np.asarray(mu, np.float64), np.asarray(epsilon, np.float64))
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        ratio = epsilon / np.where(mu > 0, mu, 1.0)
        near, far = ratio - mu / 2, ratio + mu / 2  # exp(epsilon) phi(far) = phi(near)
        density = -near * near / 2
        # Far out, erfcx(near) - erfcx(far) loses no digits; if near is below 0, Phi does not underflow.
        outside = special.erfcx(np.maximum(near, 0.0) / math.sqrt(2)) - special.erfcx(far / math.sqrt(2))
        tail = density + np.log(np.maximum(outside, 0.0) / 2)
        lost = density + np.log(special.erfcx(far / math.sqrt(2)) / 2)
        bulk = special.log_ndtr(-near)
        bulk = bulk + np.log(-np.expm1(np.minimum(lost - bulk, -1e-300)))
        value = np.where(near >= 0, tail, bulk)
    return np.where((mu == 0) | np.isposinf(ratio), -np.inf, np.where(np.isinf(mu), 0.0, value))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Returns the smallest epsilon with which a mu-Gaussian mechanism is (epsilon, delta)-private.

    delta = Phi(mu / 2 - epsilon / mu) - exp(epsilon) Phi(-mu / 2 - epsilon / mu), solved for epsilon.

    Args:
      mu: sensitivity over the noise's standard deviation, at least 0 and possibly infinite. Mechanisms compose as
        the square root of the sum of their squares.
      delta: in (0, 1).

    Returns:
      epsilon: 0 if mu is so small that delta alone covers it, infinite if mu is.

    Raises:
      ValueError: a negative mu, or delta not strictly between 0 and 1.

    Source: Balle and Wang, "Improving the Gaussian Mechanism" (2018), theorem 8; Dong, Roth and Su, "Gaussian
    Differential Privacy" (2019), corollary 2.13.

    >>> round(gaussian_epsilon(1.0, 1e-5), 3)
    4.377
    """
    checks.at_least("mu", mu, 0)
    if not 0 < delta < 1:
        raise ValueError(f"delta={delta!r} must lie strictly between 0 and 1, for example 1e-5.")
    if mu in (0, math.inf):
        return float(mu)
    return smallest_epsilon(lambda epsilon: float(log_gaussian_delta(mu, epsilon)), delta, start=float(mu))


def smallest_epsilon(log_delta: Callable[[float], float], delta: float, start: float = 1.0) -> float:
    """Returns the smallest epsilon at which a falling log delta is at most log(delta), to 1e-13, never too small.

    Args:
      log_delta: epsilon -> logarithm of its delta, falling.
      delta: in (0, 1).
      start: first guess, above 0.

    Returns:
      0 if epsilon 0 will do, infinity if no number will.
    """
    target = math.log(delta)
    if log_delta(0.0) <= target:
        return 0.0
    low, high = 0.0, start
    while log_delta(high) > target:
        low, high = high, high * 2
        if math.isinf(high):
            return math.inf
    while low == 0.0 and high > 1e-300 and log_delta(high / 16) <= target:
        high /= 16
    if low == 0.0 and high > 1e-300:
        low = high / 16
    below, above = log_delta(low) - target, log_delta(high) - target
    for count in range(200):
        if high - low <= 1e-13 * high:
            break
        share = 0.5
        if count % 3 and math.isfinite(below) and math.isfinite(above):  # a secant, and every third time a half
            share = min(max(below / (below - above), 1e-3), 1 - 1e-3) if below > above else 0.5
        middle = low + share * (high - low)
        if not low < middle < high:
            break
        value = log_delta(middle) - target
        low, high, below, above = (middle, high, value, above) if value > 0 else (low, middle, below, value)
    return float(high)


def check_claim(delta: float, confidence: float, assumption: str) -> None:
    """Raises ValueError unless a lower bound on epsilon can be stated in these terms."""
    checks.one_of("assumption", assumption, ASSUMPTIONS)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence!r} must lie strictly between 0 and 1, for example 0.95.")
    if not 0 <= delta < 1:
        raise ValueError(f"delta={delta!r} must be at least 0 and below 1, for example 1e-5.")
    if assumption == "gaussian" and delta == 0:
        raise ValueError(
            "delta=0 gives a Gaussian mechanism no finite epsilon, whatever its noise; "
            "name a delta above 0, for example 1e-5, or take assumption='dp'."
        )
