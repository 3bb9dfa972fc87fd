"""What a Gaussian mechanism promises, exactly: mu-Gaussian differential privacy as an epsilon at a delta."""

from __future__ import annotations

import math

from scipy import optimize, special

from gecko_jax import checks

ASSUMPTIONS = ("dp", "gaussian")


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The least epsilon with which a mu-Gaussian mechanism is (epsilon, delta)-private.

    delta = Phi(mu / 2 - epsilon / mu) - exp(epsilon) Phi(-mu / 2 - epsilon / mu), solved for epsilon.

    Args:
      mu: sensitivity over the noise's standard deviation, at least 0 and possibly infinite. Mechanisms compose as
        the square root of the sum of their squares.
      delta: in (0, 1).

    Returns:
      epsilon: 0 where mu is so small that delta alone covers it, infinite where mu is.

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

    def excess(epsilon):
        above, below = special.log_ndtr(mu / 2 - epsilon / mu), special.log_ndtr(-mu / 2 - epsilon / mu)
        # exp(epsilon) and the lower tail leave the floats' range long before their product does.
        return above + math.log(-math.expm1(min(epsilon + below - above, -1e-300))) - math.log(delta)

    if excess(0.0) <= 0:
        return 0.0
    high = 1.0
    while excess(high) > 0:
        high *= 2
    return float(optimize.brentq(excess, 0.0, high, xtol=1e-12, rtol=1e-12))


def check_claim(delta: float, confidence: float, assumption: str) -> None:
    """Raises ValueError unless a lower bound of epsilon can be stated in these terms."""
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
