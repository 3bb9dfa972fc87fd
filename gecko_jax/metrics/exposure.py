"""Exposure of a canary, in bits: how much likelier the model finds it than canaries that it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import optimize, special

from gecko_jax import checks
from gecko_jax.types import Array

_PANEL = np.polynomial.legendre.leggauss(64)
_NEGLIGIBLE_NATS = 45.0  # below its peak, where a density counts for nothing in float64
_MAX_SHAPE = 100.0  # beyond which a likelihood is taken to have no maximum


def _checked(value: Array, reference: Array) -> tuple[np.ndarray, np.ndarray]:
    value = checks.finite("value", np.asarray(checks.unmasked("value", value), np.float64))
    reference = np.asarray(checks.unmasked("reference", reference), np.float64)
    if value.ndim == 2 and reference.ndim == 2:
        checks.shape("value", value, (len(reference), None))
        if not reference.size:
            raise ValueError(f"reference has shape {reference.shape}; expected at least one model and one reference.")
        return value, checks.finite("reference", reference)
    if value.ndim > 1:
        raise ValueError(
            f"value has shape {value.shape} and reference {reference.shape}; expected (canaries,) and (references,), "
            "or (models, canaries) and (models, references)."
        )
    checks.shape("reference", reference, (None,))
    return value, checks.finite("reference", checks.not_empty("reference", reference))


def exposure(value: Array, reference: Array) -> float | np.ndarray:
    """Returns the exposure by rank, log2 |R| - log2 rank.

    The rank is 1 + (number of R below the value), equals counted half.

    Half of the equals come before the canary. TensorFlow Privacy counts all of them against it and therefore gives a
    lower exposure if there are ties.

    Args:
      value: perplexity or loss of the canary, smaller = better known to the model; a number, [k] canaries, or [m, k] of
        m models.
      reference: [|R|] the same of other canaries, drawn alike and never trained on, without this one; or [m, |R|], each
        model's own.

    Returns:
      Bits, a float, [k] or [m, k]. A rank shows log2 |R| at most; without memorization the mean is about 1.44. The
      minimum is below 0: log2(|R| / (|R| + 1)). A canary has it if the model finds all of R more likely.

    Raises:
      ValueError: wrong shapes, no reference, or a number that is NaN or infinite.

    Source: Carlini et al., "The Secret Sharer" (2019).

    >>> exposure(0.5, [1.0, 2.0, 3.0, 4.0])
    2.0
    >>> round(exposure(4.5, [1.0, 2.0, 3.0, 4.0]), 3)
    -0.322
    """
    value, reference = _checked(value, reference)
    if reference.ndim == 2:
        return np.array([exposure(of_model, others) for of_model, others in zip(value, reference, strict=True)])
    ranked = np.sort(reference)
    rank = 1 + (np.searchsorted(ranked, value, "left") + np.searchsorted(ranked, value, "right")) / 2
    bits = np.log2(len(ranked)) - np.log2(rank)
    return float(bits) if bits.ndim == 0 else bits


def extrapolated_exposure(value: Array, reference: Array) -> float | np.ndarray:
    """Returns the exposure beyond what ranks can show: -log2 F(value), F a skew-normal CDF fitted to the reference.

    The fit is by maximum likelihood, and log F is integrated in logarithms: if F itself underflows, the exposure is
    large, as it should be, and neither 0 nor infinite. It assumes that the tail has the fitted shape: print it beside
    the exposure by rank.

    Args:
      value: perplexity or loss of the canary, smaller = better known to the model; a number, [k] canaries, or [m, k] of
        m models.
      reference: [|R|] the same of other canaries, drawn alike and never trained on, at least 8, not all equal; or
        [m, |R|], each model's own.

    Returns:
      Bits, a float, [k] or [m, k].

    Raises:
      ValueError: wrong shapes, a number that is NaN or infinite, or a reference that is too short or of one value.

    Source: Carlini et al. (2019); the skew-normal: Azzalini (1985).

    >>> reference = special.ndtri((np.arange(200) + 0.5) / 200)  # quantiles of a standard normal
    >>> round(exposure(-6.0, reference), 2)  # log2(200) is the most that ranks can show
    7.64
    >>> 28 < extrapolated_exposure(-6.0, reference) < 32  # -log2 Phi(-6) = 29.9
    True
    """
    value, reference = _checked(value, reference)
    if reference.ndim == 2:
        pairs = zip(value, reference, strict=True)
        return np.array([extrapolated_exposure(of_model, others) for of_model, others in pairs])
    checks.at_least("number of reference values", len(reference), 8)
    shape, location, scale = _fit(reference)
    z = (value - location) / scale
    bits = np.array([-skew_normal_logcdf(float(one), shape) for one in np.ravel(z)]) / math.log(2)
    return float(bits[0]) if value.ndim == 0 else bits


def _fit(reference: np.ndarray) -> tuple[float, float, float]:
    """Returns the maximum-likelihood (shape, location, scale).

    If values crowd at their sharp end, the likelihood may rise without bound towards half a normal, whose CDF is 0
    outside. Then Azzalini and Arellano-Valle's (2013) penalty is subtracted, which keeps the shape finite.
    """
    from scipy import stats  # slow to import, and no other metric needs it

    center, spread = reference.mean(), reference.std()
    if not spread > 1e-12 * np.abs(reference).max():
        raise ValueError(f"reference is {reference[0]!r} throughout; a distribution cannot be fitted to one value.")
    x = (reference - center) / spread
    fit: Any = stats.skewnorm.fit(x)
    shape, location, scale = map(float, fit)
    if abs(shape) > _MAX_SHAPE:

        def penalized(parameters):
            shape, location, log_scale = parameters
            z = (x - location) * math.exp(-log_scale)
            log_density = -log_scale - z * z / 2 + special.log_ndtr(shape * z)
            return 0.875913 * math.log1p(0.856250 * shape**2) - log_density.sum()

        start = (math.copysign(5, shape), location, math.log(scale))
        optimum = optimize.minimize(penalized, start, method="Nelder-Mead", options={"maxiter": 2000})
        shape, location, scale = optimum.x[0], optimum.x[1], math.exp(optimum.x[2])
    return float(shape), float(center + spread * location), float(spread * scale)


def _root(function: Callable[[float], Any], low: float, high: float, **options: Any) -> float:
    root: Any = optimize.brentq(function, low, high, **options)
    return float(root)


def skew_normal_logcdf(z: float, shape: float) -> float:
    """Returns the log of the integral from -inf to z of 2 phi(t) Phi(shape t), accurate however far in the tail.

    The density is log-concave with a curvature of 1 or more. Relative to its peak below z, and from where it has fallen
    by e^-45, it is integrated by Gauss-Legendre on panels that end where Phi(shape t) bends. If it falls so steeply
    that the curvature is negligible, the integral is density / slope.
    """

    def log_density(t):
        return math.log(2) - 0.5 * math.log(2 * math.pi) - t * t / 2 + special.log_ndtr(shape * t)

    def slope(t):  # of the logarithm; phi(x) / Phi(x) by erfcx, so that neither underflows
        return -t + shape * math.sqrt(2 / math.pi) / special.erfcx(-shape * t / math.sqrt(2))

    if slope(z) > 1e4 * math.hypot(1, shape if shape * z < 8 else 0):
        return float(log_density(z) - math.log(slope(z)))
    peak = min(z, _root(slope, -1.0, 1.0))  # |mode| < sqrt(2 / pi)
    top = log_density(peak)
    # Ten below the peak the density has fallen by e^-50 or more.
    start = _root(lambda t: log_density(t) - top + _NEGLIGIBLE_NATS, peak - 10, peak, xtol=1e-16, maxiter=500)
    bend = 8 / max(abs(shape), 1e-3)
    edges = np.unique(np.clip([start, peak, -bend, 0.0, bend, z], start, min(z, peak + 10)))
    nodes, weights = _PANEL
    half, middle = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
    return float(top + math.log((half * weights[None] * np.exp(log_density(middle + half * nodes[None]) - top)).sum()))
