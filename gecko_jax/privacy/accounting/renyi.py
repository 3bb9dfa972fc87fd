"""Renyi differential privacy at integer orders: a bound that is quick, valid at any delta and for every sampling.

  A(a) = E_{i ~ Bin(a, rate)}[exp(i (i - 1) / (2 z^2))],   r(a) = log A(a) / (a - 1) for each step
  epsilon = min over a of  r + log(1 - 1/a) - log(delta a) / (a - 1)

A - 1 is summed from its own terms, all above 0, and so a tiny divergence is not lost in rounding. The published form
(and dp_accounting) may come out below 0 there, and report an epsilon of 0.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from gecko_jax.privacy.accounting.phases import Phase, full_batch_probability, is_cut, log_sum

ORDERS = (*range(2, 33), *(int(32 * 1.2**k) for k in range(1, 27)), *(int(4096 * 1.5**k) for k in range(31)))  # to 1e9
MAX_FULL_SUM_ORDER = 4096  # orders up to this one are summed in full


def renyi_epsilon(phases: Sequence[Phase], delta: float, adjacency: str) -> float:
    """Computes the epsilon of phases at a delta in (0, 1); infinite only if every order's divergence overflows.

    Source: Mironov, Talwar, Zhang (arXiv 1908.10530), section 3.3, for A; Canonne, Kamath, Steinke (arXiv 2004.00010),
      proposition 12, for epsilon; Bretagnolle and Huber's delta <= sqrt(1 - exp(-r)), if delta covers everything.
    """
    orders, r = np.array(ORDERS, np.float64), _divergences(phases, adjacency)
    with np.errstate(invalid="ignore"):
        values = r + np.log1p(-1 / orders) - (math.log(delta) + np.log(orders)) / (orders - 1)
    covered = -np.expm1(-r) <= delta**2
    return max(0.0, float(np.where(covered, 0.0, values).min()))


def renyi_log_deltas(phases: Sequence[Phase], epsilons: np.ndarray, adjacency: str) -> np.ndarray:
    """Returns the logarithms [k] of the deltas at epsilons [k], at most 0."""
    orders, r = np.array(ORDERS, np.float64)[None], _divergences(phases, adjacency)[None]
    values = (orders - 1) * (r - epsilons[:, None] + np.log1p(-1 / orders)) - np.log(orders)
    with np.errstate(divide="ignore"):
        variation = 0.5 * np.log(-np.expm1(-r))
    return np.minimum(np.minimum(values, variation).min(1), 0.0)


def _divergences(phases: Sequence[Phase], adjacency: str) -> np.ndarray:
    return sum((_of_phase(phase, adjacency) for phase in phases), np.zeros(len(ORDERS)))


def _of_phase(phase: Phase, adjacency: str) -> np.ndarray:
    """Returns the Renyi divergence of all steps of a phase, [orders]."""
    sampling, noise, replace = phase.sampling, phase.effective_noise_multiplier, adjacency == "replace_one"
    full = full_batch_probability(sampling) if is_cut(sampling) else 0.0
    if phase.is_one_release:
        with np.errstate(over="ignore"):
            square = np.float64((2.0 if replace else 1.0) / noise) ** 2
            return phase.releases * np.array(ORDERS, np.float64) / 2 * square
    return sampling.steps * _of_steps(sampling.rate, noise, full, replace)


@functools.lru_cache(maxsize=64)
def _of_steps(rate: float, noise: float, full: float, replace: bool) -> np.ndarray:
    return np.array([_of_step(order, rate, noise, full, replace) for order in ORDERS])


def _of_step(order: int, rate: float, noise: float, full: float, replace: bool) -> float:
    if not replace:
        return _log_moment(order, rate, noise, full) / (order - 1)
    # Replacing is removing, then adding, by the triangle inequality of orders 2a and 2a - 1 (Mironov 2017, corollary
    # 4); or, given the coins, a Gaussian mechanism of twice the shift with the probability of taking part.
    there = _log_moment(2 * order, rate, noise, full) / (2 * order - 1)
    back = _log_moment(2 * order - 1, rate, noise, full) / (2 * order - 2)
    given_coins = np.logaddexp(math.log1p(-rate) if rate < 1 else -math.inf, math.log(rate) + _gap(order, noise / 2))
    return min((order - 0.5) / (order - 1) * there + back, max(float(given_coins), 0.0) / (order - 1))


def _gap(order: int, noise: float) -> float:
    return order * (order - 1) / 2 / noise / noise


def _log_moment(order: int, rate: float, noise: float, full: float) -> float:
    """Computes log A of a Poisson-sampled step, whose shift is doubled by a displacement with probability `full`."""
    value = _log_excess(order, rate, noise)
    if full:
        doubled = _log_excess(order, rate, noise / 2)
        value = float(np.logaddexp(math.log1p(-full) + value if full < 1 else -math.inf, math.log(full) + doubled))
    return float(np.logaddexp(0.0, value))


def _log_excess(order: int, rate: float, noise: float) -> float:
    """Computes log(A - 1): the terms i = 0 and 1 vanish, all others are above 0."""
    low, high = 2, order
    if order > MAX_FULL_SUM_ORDER and rate < 1:
        # Terms that rise once and fall once are negligible far from their peak. Otherwise this order is useless.
        variance = order * rate * (1 - rate)
        if 2 * variance >= noise * noise or order * rate >= noise * noise:
            return math.inf
        peak = order * rate
        for _ in range(20):
            peak = order * rate / (rate + (1 - rate) * math.exp(-peak / noise / noise))
        width = 14 * math.sqrt(1 / (1 / variance - 1 / noise / noise)) + 200
        low, high = max(2, int(peak - width)), min(order, int(peak + width))
    i = np.arange(low, high + 1, dtype=np.float64)
    log_choose = special.gammaln(order + 1) - special.gammaln(i + 1) - special.gammaln(order - i + 1)
    log_pmf = log_choose + special.xlogy(i, rate) + special.xlog1py(order - i, -rate)
    with np.errstate(over="ignore"):
        x = i * (i - 1) / 2 / noise / noise
    slack = 1e-15 * float(special.gammaln(order + 1))  # what the differences of log_choose may lose
    # Zero for a noise beyond the floats' range: below the smallest positive number nothing is told apart.
    log_gain = x + np.log(-np.expm1(-np.maximum(x, 1e-300)))
    return log_sum(log_pmf + log_gain) + slack
