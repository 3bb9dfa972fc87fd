"""An empirical lower bound on epsilon from one run, from the canaries' signals instead of guesses about them.

A guess keeps one bit of a signal. If the signals of a white-box audit are Gaussian, as sums of many noised steps are,
their means and their deviation hold more: the distance mu between canaries in and canaries out, in standard deviations,
is the mu of the Gaussian mechanism that they went through.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import optimize, special

from gecko_jax.metrics.gaussian_dp import check_claim, gaussian_epsilon
from gecko_jax.metrics.roc import scored_pairs
from gecko_jax.types import Array, Estimate

_QUANTILES = 4000  # of the deviation, over which the noncentral t's tail is averaged


def gaussian_signals_epsilon(scores: Array, member: Array, delta: float, confidence: float = 0.95) -> Estimate:
    """Returns a lower bound on epsilon from the Gaussian signals of many canaries of one run.

    mu = (mean of those in - mean of those out) / pooled standard deviation; the lower end of its one-sided interval, by
    the noncentral t distribution with n - 2 degrees of freedom, is the mu of a Gaussian mechanism, given as an epsilon
    at delta.

    Unlike bounds from guesses, it assumes that the canaries' signals are independent of each other and Gaussian, out to
    tails of the size of delta, which no number of canaries can show. Orthogonal gradient canaries under Gaussian noise
    are so by construction. Compare it with a claim; do not make a claim of it.

    Args:
      scores: [m] numbers, larger for a likelier member, of ALL canaries.
      member: [m] bool, each canary's coin: fair, and independent of all others.
      delta: in (0, 1).
      confidence: in (0, 1).

    Returns:
      The bound as an Estimate of kind "modeled", at least 0, its n the canaries; infinite for signals without noise.

    Raises:
      ValueError: see `roc.scored_pairs`; fewer than two canaries in or out, a score that is infinite, an argument
        outside its bound.

    Source: after Agrawal et al., "Let's Ask Gauss: Improved One-Run Privacy Auditing" (arXiv 2606.12733); the interval
      is the classical one of a standardized difference (Hedges and Olkin 1985).

    >>> scores = np.random.default_rng(0).normal(size=4000) + (np.arange(4000) % 2)  # mu = 1: epsilon 4.38 at 1e-5
    >>> round(gaussian_signals_epsilon(scores, np.arange(4000) % 2 == 1, 1e-5).value, 2)
    4.2
    """
    check_claim(delta, confidence, "gaussian")
    scores, member = scored_pairs(scores, member)
    if not np.isfinite(scores).all():
        raise ValueError("scores holds an infinity, which a Gaussian signal never is; expected finite numbers.")
    inside, outside = scores[member], scores[~member]
    if min(len(inside), len(outside)) < 2:
        raise ValueError(f"member marks {len(inside)} of {len(member)} canaries; at least 2 in and 2 out are needed.")
    df = len(scores) - 2
    variance = (inside.var() * len(inside) + outside.var() * len(outside)) / df
    shift = inside.mean() - outside.mean()
    if shift <= 0:
        return Estimate(0.0, kind="modeled", n=len(member))
    scale = math.sqrt(1 / len(inside) + 1 / len(outside))
    if variance <= (1e-12 * shift) ** 2:  # only rounding noise
        return Estimate(math.inf, kind="modeled", n=len(member))
    mu = _lowest_mean(shift / math.sqrt(variance) / scale, df, 1 - confidence) * scale
    return Estimate(gaussian_epsilon(mu, delta) if mu > 0 else 0.0, kind="modeled", n=len(member))


def _lowest_mean(t: float, df: int, alpha: float) -> float:
    """Returns the noncentrality at which Student's t is `t` or more with a chance of alpha; 0 if that is below 0.

    P[T >= t] = E[Phi(noncentrality - t sqrt(V / df))], V chi-square with df degrees of freedom.
    """
    quantiles = special.chdtri(df, (np.arange(_QUANTILES) + 0.5) / _QUANTILES)
    deviations = t * np.sqrt(quantiles / df)

    def excess(mean: float) -> float:
        return float(special.ndtr(mean - deviations).mean()) - alpha

    if excess(0.0) >= 0:
        return 0.0
    root: Any = optimize.brentq(excess, 0.0, deviations.max() + 10)
    return float(root)
