"""Exposure of a canary: how much likelier the model finds it than its like that were never trained on, in bits."""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, special

from gecko_jax import checks
from gecko_jax.types import Array

_PANEL = np.polynomial.legendre.leggauss(64)
_DROP = 45.0  # nats below its peak where a density is nothing in float64
_STEEP = 100.0  # a fitted shape beyond which the likelihood is taken to have no maximum


def _checked(value: Array, reference: Array) -> tuple[np.ndarray, np.ndarray]:
    value = checks.finite("value", np.asarray(value, np.float64))
    if value.ndim > 1:
        raise ValueError(f"value has shape {value.shape}; expected () or (canaries,).")
    reference = checks.shape("reference", np.asarray(reference, np.float64), (None,))
    return value, checks.finite("reference", checks.not_empty("reference", reference))


def exposure(value: Array, reference: Array) -> float | np.ndarray:
    """Exposure by rank: log2 |R| - log2 rank, where rank = 1 + (number of R below the value), equals counted half.

    Half of the equals stand before the canary. TensorFlow Privacy counts all of them against it, and so reads a lower
    exposure wherever there are ties.

    Args:
      value: perplexity or loss of the canary, smaller = better known to the model; a number, or [k] canaries.
      reference: [|R|] the same of others drawn like the canary and never trained on, the canary not among them.

    Returns:
      Bits, a float or [k]. log2 |R| is the largest that a rank can show; about 1.44 is the mean without memorisation.
      The least is below 0: log2(|R| / (|R| + 1)), of a canary that the model finds less likely than all of R.

    Raises:
      ValueError: wrong shapes, no reference, or a number that is NaN or infinite.

    Source: Carlini et al., "The Secret Sharer" (2019).

    >>> exposure(0.5, [1.0, 2.0, 3.0, 4.0])
    2.0
    >>> round(exposure(4.5, [1.0, 2.0, 3.0, 4.0]), 3)
    -0.322
    """
    value, reference = _checked(value, reference)
    ranked = np.sort(reference)
    rank = 1 + (np.searchsorted(ranked, value, "left") + np.searchsorted(ranked, value, "right")) / 2
    bits = np.log2(len(ranked)) - np.log2(rank)
    return float(bits) if bits.ndim == 0 else bits


def extrapolated_exposure(value: Array, reference: Array) -> float | np.ndarray:
    """Exposure beyond what ranks can show: -log2 F(value), F the skew-normal CDF fitted to the reference.

    The fit is by maximum likelihood, and log F is integrated in logarithms: where F itself underflows, the exposure is
    large, as it should be, and neither 0 nor infinite. It rests on the tail having the fitted shape: print it beside
    the exposure by rank.

    Args:
      value: perplexity or loss of the canary, smaller = better known to the model; a number, or [k] canaries.
      reference: [|R|] the same of others drawn like the canary and never trained on; at least 8, of some spread.

    Returns:
      Bits, a float or [k].

    Raises:
      ValueError: wrong shapes, a number that is NaN or infinite, or a reference too short or all of one value.

    Source: Carlini et al. (2019); the skew-normal: Azzalini (1985).
    """
    value, reference = _checked(value, reference)
    checks.at_least("number of reference values", len(reference), 8)
    shape, location, scale = _fit(reference)
    z = (value - location) / scale
    bits = np.array([-skew_normal_logcdf(float(one), shape) for one in np.ravel(z)]) / math.log(2)
    return float(bits[0]) if value.ndim == 0 else bits


def _fit(reference: np.ndarray) -> tuple[float, float, float]:
    """Maximum-likelihood (shape, location, scale).

    Where values crowd at their sharp end, the likelihood may rise without end towards half a normal, whose CDF is 0 a
    step outside. Then it is maximised less Azzalini and Arellano-Valle's (2013) penalty, and the shape stays finite.
    """
    from scipy import stats  # slow to import, and no other metric needs it

    centre, spread = reference.mean(), reference.std()
    if not spread > 1e-12 * np.abs(reference).max():
        raise ValueError(f"reference is {reference[0]!r} throughout; a distribution cannot be fitted to one value.")
    x = (reference - centre) / spread
    shape, location, scale = stats.skewnorm.fit(x)
    if abs(shape) > _STEEP:

        def penalised(parameters):
            shape, location, log_scale = parameters
            z = (x - location) * math.exp(-log_scale)
            log_density = -log_scale - z * z / 2 + special.log_ndtr(shape * z)
            return 0.875913 * math.log1p(0.856250 * shape**2) - log_density.sum()

        start = (math.copysign(5, shape), location, math.log(scale))
        found = optimize.minimize(penalised, start, method="Nelder-Mead", options={"maxiter": 2000})
        shape, location, scale = found.x[0], found.x[1], math.exp(found.x[2])
    return float(shape), float(centre + spread * location), float(spread * scale)


def skew_normal_logcdf(z: float, shape: float) -> float:
    """log of the integral from -inf to z of 2 phi(t) Phi(shape t), accurate however far in the tail.

    The density is log-concave with a curvature of 1 or more. It is integrated, relative to its peak below z, from where
    it has fallen by e^-45, by Gauss-Legendre on panels that end where Phi(shape t) bends; where it falls so steeply
    that the curvature is nothing, the integral is density / slope.
    """

    def log_density(t):
        return math.log(2) - 0.5 * math.log(2 * math.pi) - t * t / 2 + special.log_ndtr(shape * t)

    def slope(t):  # of the logarithm; phi(x) / Phi(x) by erfcx, as neither has to underflow
        return -t + shape * math.sqrt(2 / math.pi) / special.erfcx(-shape * t / math.sqrt(2))

    if slope(z) > 1e4 * math.hypot(1, shape if shape * z < 8 else 0):
        return float(log_density(z) - math.log(slope(z)))
    peak = min(z, optimize.brentq(slope, -1.0, 1.0))  # |mode| < sqrt(2 / pi)
    top = log_density(peak)
    # Ten below the peak the density has fallen by e^-50 or more.
    start = optimize.brentq(lambda t: log_density(t) - top + _DROP, peak - 10, peak, xtol=1e-16, maxiter=500)
    bend = 8 / max(abs(shape), 1e-3)
    edges = np.unique(np.clip([start, peak, -bend, 0.0, bend, z], start, min(z, peak + 10)))
    nodes, weights = _PANEL
    half, middle = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
    return float(top + math.log((half * weights[None] * np.exp(log_density(middle + half * nodes[None]) - top)).sum()))
