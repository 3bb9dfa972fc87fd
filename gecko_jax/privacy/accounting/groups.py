"""Group privacy: what a run guarantees to a person with several records, by the smallest of three upper bounds.

Mixture of Gaussians: a step draws i of the k records with the binomial's probability, and then shifts by i at most. It
is tight, and known for Poisson sampling with records added or removed (Ganesh, arXiv 2401.10294).
One record for k: drawn with probability 1 - (1 - rate)^k, with k times the shift.
In general: (epsilon, delta) for one is (k epsilon, delta (e^(k epsilon) - 1) / (e^epsilon - 1)) for k, at every point
of the curve (Dwork and Roth 2014, theorem 2.2 and its proof with delta).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gecko_jax import checks
from gecko_jax.privacy.accounting import loss_distributions
from gecko_jax.privacy.accounting.accountants import rough_epsilon, tightest_epsilon, tightest_log_deltas
from gecko_jax.privacy.accounting.epsilon import ADJACENCIES, Epsilon, check_delta, no_noise
from gecko_jax.privacy.accounting.participation import is_exact
from gecko_jax.privacy.accounting.phases import Phase, is_cut, phases_of
from gecko_jax.privacy.sampling import Sampling

CURVE_POINTS = 33  # of one record's curve that the general bound tries, twice
MIXTURE_POINTS = 5e3  # grid points of a step's losses, each of which is a root to find
MAX_MIXTURE_RECORDS = 64  # records that a mixture of Gaussians is computed for: each takes time


def group_epsilon(
    sampling: Sampling | Sequence[Sampling],
    noise_multiplier: float | Sequence[float],
    delta: float,
    records: int,
    adjacency: str = "add_or_remove",
    count_noise_multiplier: float | None | Sequence[float | None] = None,
) -> Epsilon:
    """Returns the epsilon that a private training run guarantees to a person with several records.

    Args:
      sampling, noise_multiplier, delta, adjacency, count_noise_multiplier: see `privacy.epsilon`.
      records: how many of the n examples are the person's, at least 1; each is clipped on its own.

    Returns:
      An Epsilon for all of them added or removed (or replaced) at once. If shuffled, all may fall into one batch.

    Raises:
      ValueError: for an unknown name, a value out of range, or more records than examples.

    Example:
      >>> from gecko_jax.privacy.sampling import poisson
      >>> run = poisson(1000, 1000, steps=1)
      >>> round(float(group_epsilon(run, 4.0, 1e-5, records=4)), 3)  # the Gaussian mechanism at a noise of 4 / 4
      4.377

    Source: see the head of this file.
    """
    checks.one_of("adjacency", adjacency, ADJACENCIES)
    phases = phases_of(sampling, noise_multiplier, count_noise_multiplier)
    delta = check_delta(delta, phases)
    records = checks.integer("records", records, 1)
    checks.in_range("records", records, 1, min(phase.sampling.n for phase in phases))
    if no_noise(phases):
        return Epsilon(math.inf, delta, adjacency, "gaussian", phases, records)
    if records == 1:
        value, accountant = tightest_epsilon(phases, delta, adjacency)
        return Epsilon(value, delta, adjacency, accountant, phases)
    joined = _as_one(phases, records)
    value, accountant = tightest_epsilon(joined, delta, adjacency)
    if not is_exact(joined):
        if _has_mixture(phases, records, adjacency):
            tight = loss_distributions.pld_epsilon(phases, delta, adjacency, _interval(joined, adjacency), records)
            value, accountant = min((value, accountant), (tight, "pld"))
        value, accountant = min((value, accountant), (_general(phases, delta, adjacency, records, value), accountant))
    return Epsilon(value, delta, adjacency, accountant, phases, records)


def group_log_deltas(phases: Sequence[Phase], epsilons: np.ndarray, adjacency: str, records: int) -> np.ndarray:
    """Returns the logarithms [k] of the smallest valid deltas at epsilons [k] for a person with that many records."""
    if records == 1:
        return tightest_log_deltas(phases, epsilons, adjacency)
    joined = _as_one(phases, records)
    values = tightest_log_deltas(joined, epsilons, adjacency)
    if is_exact(joined):
        return values
    if _has_mixture(phases, records, adjacency):
        interval = _interval(joined, adjacency)
        tight = loss_distributions.pld_deltas(phases, epsilons, adjacency, interval, records)
        values = np.minimum(values, np.log(tight))
    single = tightest_log_deltas(phases, epsilons / records, adjacency)
    return np.minimum(values, single + _log_growth(epsilons / records, records))


def _as_one(phases: Sequence[Phase], records: int) -> tuple[Phase, ...]:
    """Builds phases in which one record has the weight of all of them."""
    joined = []
    for phase in phases:
        sampling, noise = phase.sampling, phase.effective_noise_multiplier / records
        if sampling.kind != "shuffled":
            if is_cut(sampling):
                noise /= 2  # in a full batch each displaces another
            rate = -math.expm1(records * math.log1p(-sampling.rate)) if sampling.rate < 1 else 1.0
            sampling = sampling._replace(kind="poisson", batch_size=min(rate, 1.0) * sampling.n, cap=sampling.n)
        joined.append(Phase(sampling, noise))
    return tuple(joined)


def _has_mixture(phases: Sequence[Phase], records: int, adjacency: str) -> bool:
    cut = any(is_cut(phase.sampling) for phase in phases)
    return adjacency == "add_or_remove" and records <= MAX_MIXTURE_RECORDS and not cut


def _interval(joined: tuple[Phase, ...], adjacency: str) -> float:
    rough = rough_epsilon(joined, 1e-6, adjacency)
    return loss_distributions.grid_interval(joined, adjacency, rough, MIXTURE_POINTS)


def _log_growth(single: np.ndarray, records: int) -> np.ndarray:
    """Computes log((e^(k epsilon) - 1) / (e^epsilon - 1)), which is log k at 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(-np.expm1(-records * single)) - np.log(-np.expm1(-single))
    return (records - 1) * single + np.where(single > 0, ratio, math.log(records))


def _general(phases: Sequence[Phase], delta: float, adjacency: str, records: int, enough: float) -> float:
    """Returns k times the smallest epsilon of one record with a general bound of at most delta; else infinity."""
    low, high = 0.0, enough / records / 16
    while records * high <= enough:  # a value above another bound is useless
        value = tightest_log_deltas(phases, np.array([high]), adjacency) + _log_growth(np.array([high]), records)
        if value[0] <= math.log(delta):
            break
        low, high = high, 2 * high
    else:
        return math.inf
    for _ in range(2):
        tried = np.linspace(low, high, CURVE_POINTS)
        values = tightest_log_deltas(phases, tried, adjacency) + _log_growth(tried, records)
        first = int(np.argmax(values <= math.log(delta)))
        low, high = float(tried[max(first - 1, 0)]), float(tried[first])
    return records * high
