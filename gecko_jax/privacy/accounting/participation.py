"""A bound in closed form: the Gaussian mechanism, averaged over how often an example takes part.

Given the coins, an example that takes part in T steps is in a Gaussian mechanism of mu^2 = T / z^2, and the output
without it is the same whatever its coins say. The hockey-stick divergence is jointly convex, therefore

  delta(epsilon) <= E_T[delta_Gaussian(sqrt(T) / z; epsilon)],   T = Binomial(steps, rate)

It is exact if every example takes part in every step (full batches, shuffled epochs), tends to the exact value if the
noise is so small that the output shows T, and can be computed at any noise, number of steps and delta.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from gecko_jax.metrics.gaussian_dp import log_gaussian_delta, smallest_epsilon
from gecko_jax.privacy.accounting.phases import Phase, full_batch_probability, is_cut, log_sum

BINS = 1024  # of mu^2; rounding up to the next costs a thousandth at most
MAX_MU = 1e152  # whose epsilon, mu^2 / 2 for each step, comes near the end of the floats
MAX_LOG_MISSED = -690.0  # of the mass left out, if no delta says how little is enough


def participation_epsilon(phases: Sequence[Phase], delta: float, adjacency: str) -> float:
    """Computes the epsilon of phases at a delta in (0, 1), by the bound above.

    Source: joint convexity of the divergence: Balle, Barthe, Gaboardi, "Privacy amplification by subsampling" (NeurIPS
      2018); the Gaussian mechanism's delta: Balle and Wang, "Improving the Gaussian mechanism" (ICML 2018), theorem 8.
    """
    log_mass, squares, missed = _spread(phases, adjacency, math.log(delta) - 14)
    return smallest_epsilon(
        lambda value: _log_delta(log_mass, squares, missed, value), delta, max(math.sqrt(squares[-1]), 1e-300)
    )


def participation_log_deltas(phases: Sequence[Phase], epsilons: np.ndarray, adjacency: str) -> np.ndarray:
    """Returns the logarithms [k] of the deltas at epsilons [k], by the bound above."""
    log_mass, squares, missed = _spread(phases, adjacency, MAX_LOG_MISSED)
    return np.array([_log_delta(log_mass, squares, missed, float(value)) for value in epsilons])


def is_exact(phases: Sequence[Phase]) -> bool:
    """Tells whether no coin decides who takes part: then the bound is the Gaussian mechanism itself."""
    return all(phase.is_one_release for phase in phases)


def _log_delta(log_mass: np.ndarray, squares: np.ndarray, missed: float, epsilon: float) -> float:
    value = log_sum(log_mass + log_gaussian_delta(np.sqrt(squares), epsilon))
    return min(float(np.logaddexp(value, missed)), 0.0)


def _spread(phases: Sequence[Phase], adjacency: str, log_missed: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns (log masses [k], values [k] of mu^2, log of the mass left out), each value rounded up."""
    shift = 2.0 if adjacency == "replace_one" else 1.0
    fixed, counts = 0.0, []  # mu^2 that is certain; binomial counts (steps, rate, mu^2 of each)
    for phase in phases:
        sampling, one = phase.sampling, shift / phase.effective_noise_multiplier
        if one > MAX_MU:
            return np.zeros(1), np.array([math.inf]), -math.inf
        one = one * one
        if phase.is_one_release:
            fixed += phase.releases * one
        elif is_cut(sampling) and adjacency == "add_or_remove":
            # Who is put into a full batch displaces another, which doubles the shift. The two counts are a
            # multinomial's; independent ones with these rates are stochastically larger.
            full = full_batch_probability(sampling)
            twice = sampling.rate * full
            counts.append((sampling.steps, twice, 4 * one))
            counts.append((sampling.steps, sampling.rate * (1 - full) / (1 - twice) if twice < 1 else 0.0, one))
        else:
            counts.append((sampling.steps, sampling.rate, one))
    log_mass, squares, left_out = np.zeros(1), np.array([fixed]), []
    for steps, rate, one in counts:
        if rate == 1:
            squares = squares + steps * one
            continue
        if rate == 0:
            continue
        more, number, missed = _binomial(steps, rate, log_missed - math.log(len(counts)))
        left_out.append(missed)
        log_mass, squares = _rebinned(
            (log_mass[:, None] + more[None]).ravel(), (squares[:, None] + (number * one)[None]).ravel()
        )
    return log_mass, squares, log_sum(np.array(left_out)) if left_out else -math.inf


def _binomial(steps: int, rate: float, log_missed: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns (log masses [k], counts [k], log of the mass above them) of a binomial, lower counts rounded up."""
    mean, nats = steps * rate, -log_missed
    # Bernstein: above `high` lies at most the mass to miss, below `low` one that does not matter.
    spread = math.sqrt(2 * mean * (1 - rate) * nats)
    low, high = max(0, int(mean - spread - nats)), min(steps, int(mean + spread + nats) + 1)
    count = np.arange(low, high + 1, dtype=np.float64)
    log_choose = special.gammaln(steps + 1) - special.gammaln(count + 1) - special.gammaln(steps - count + 1)
    slack = 1e-15 * float(special.gammaln(steps + 1))  # what these differences may lose
    log_mass = log_choose + special.xlogy(count, rate) + special.xlog1py(steps - count, -rate) + slack
    if low:
        log_mass[0] = 0.0  # all that lies below, and a little more
    log_mass, count = _rebinned(log_mass, count)
    return log_mass, count, -math.inf if high == steps else log_missed


def _rebinned(log_mass: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merges values into at most BINS, each the largest of its bin."""
    if len(values) <= BINS:
        order = np.argsort(values)
        return log_mass[order], values[order]
    low, high = float(values.min()), float(values.max())
    slot = np.minimum(((values - low) * (BINS / (high - low))).astype(int), BINS - 1)
    order = np.lexsort((values, slot))
    slot, values, log_mass = slot[order], values[order], log_mass[order]
    starts = np.flatnonzero(np.append(True, slot[1:] != slot[:-1]))
    ends = np.append(starts[1:], len(slot)) - 1
    return np.logaddexp.reduceat(log_mass, starts), values[ends]
