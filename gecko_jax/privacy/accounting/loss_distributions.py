"""Privacy loss distributions of complete runs, by dp_accounting: the grid, the composition, and the rounding error.

dp_accounting rounds losses up to a grid, which is sound, and composes by Fourier transforms in float64, whose rounding
is not: it moves each delta by about steps * 2e-17. `lost` is added to every delta, which makes each figure an upper
bound; a delta that small has no figure here (see `renyi`).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gecko_jax.privacy.accounting.phases import Phase, is_cut

INTERVAL = 1e-4  # of the losses' grid: dp_accounting's own default
MAX_STEP_POINTS = 5e4  # grid points of one step's losses, each some microseconds in Python
MAX_RUN_POINTS = 2e6  # grid points of a run's losses, whose Fourier transforms take memory and seconds
STEPS_PER_COMPOSITION = 4096
POINTS_PER_DEVIATION = 20  # of a step's loss: fewer grid points raise epsilon by a thousandth


def lost(phases: Sequence[Phase]) -> float:
    """Returns how much of a delta the rounding of the Fourier transforms may hide."""
    return 1e-14 + 1e-16 * sum(1 if phase.is_one_release else phase.sampling.steps for phase in phases)


def pld_epsilon(phases: Sequence[Phase], delta: float, adjacency: str, interval: float, records: int = 1) -> float:
    """Computes epsilon at a delta in (0, 1); infinite if the distribution cannot tell (tiny delta, almost no noise).

    A run asks for the same figure several times (for its noise, its record, its report): figures are cached.

    Args:
      phases, delta, adjacency: see `privacy.epsilon`.
      interval: of the losses' grid, see `grid_interval`.
      records: of one person; above 1 for Poisson sampling under add_or_remove alone.
    """
    return _figure(tuple(phases), delta, adjacency, interval, records)


@functools.lru_cache(maxsize=256)
def _figure(phases: tuple[Phase, ...], delta: float, adjacency: str, interval: float, records: int) -> float:
    left = delta - lost(phases)
    distribution = composed(phases, adjacency, interval, records) if left > 0 else None
    return math.inf if distribution is None else float(distribution.get_epsilon_for_delta(left))


def pld_deltas(
    phases: Sequence[Phase], epsilons: np.ndarray, adjacency: str, interval: float, records: int = 1
) -> np.ndarray:
    """Returns the deltas [k] at epsilons [k], at most 1."""
    distribution = composed(tuple(phases), adjacency, interval, records)
    if distribution is None:
        return np.ones(len(epsilons))
    values = np.array([distribution.get_delta_for_epsilon(float(value)) for value in epsilons])
    return np.clip(values + lost(phases), lost(phases), 1.0)


def grid_interval(
    phases: Sequence[Phase], adjacency: str, rough: float, step_points: float = MAX_STEP_POINTS
) -> float:
    """Chooses the grid's interval: dp_accounting's default, finer if steps lose little, coarser if they lose much."""
    coarse = INTERVAL * max(1.0, rough / 100)
    fine, fewest = coarse, 0.0
    for phase in phases:
        sampling, noise, times = phase.sampling, phase.effective_noise_multiplier, phase.releases
        shift = 2.0 if adjacency == "replace_one" else 1.0
        rate, mu = (1.0, shift * math.sqrt(times) / noise) if phase.is_one_release else (sampling.rate, shift / noise)
        fewest = max(fewest, _extent(rate, 1 / mu, is_cut(sampling)) / step_points)
        if mu < 3:  # the standard deviation of one step's loss; with less noise, a few steps lose much
            deviation = rate * math.sqrt(math.expm1(mu * mu))
            width = 25 * deviation * (1.0 if rate == 1 else math.sqrt(times))
            fine = min(fine, max(deviation / POINTS_PER_DEVIATION, width / MAX_RUN_POINTS))
    # In steps of a root of 2, so that runs of nearly the same size share a grid.
    return INTERVAL * 2 ** (math.floor(2 * math.log2(min(max(fine, fewest), 1e300) / INTERVAL)) / 2)


def _extent(rate: float, noise: float, doubled: bool) -> float:
    """Returns how far the losses of one step spread, without tails below e^-50."""
    if doubled:
        return 2 * _extent(rate, noise / 2, False)
    largest = 1 / noise * (0.5 / noise + 10)
    up = largest + math.log(rate) if largest > 600 else math.log1p(rate * math.expm1(largest))
    return up + min(largest, -math.log1p(-rate) if rate < 1 else math.inf)


@functools.lru_cache(maxsize=16)
def composed(phases: tuple[Phase, ...], adjacency: str, interval: float, records: int = 1) -> Any:
    """Returns dp_accounting's privacy loss distribution of a run; None if its arithmetic fails."""
    try:
        parts = []
        for phase in phases:
            sampling, noise = phase.sampling, phase.effective_noise_multiplier
            if phase.is_one_release:
                noise = noise / math.sqrt(phase.releases) / records
                parts.append(_step("poisson", 0, 1.0, 0, noise, adjacency, interval, 1))
                continue
            kind = "truncated_poisson" if is_cut(sampling) else "poisson"
            n, cap = (sampling.n, sampling.cap) if is_cut(sampling) else (0, 0)  # so that steps are shared
            step = _step(kind, n, sampling.rate, cap, noise, adjacency, interval, records)
            parts.append(_repeated(step, sampling.steps))
        return functools.reduce(lambda one, other: one.compose(other), parts)
    except (ArithmeticError, ValueError, MemoryError):  # beyond the floats' range at an absurd noise
        return None


def _repeated(step: Any, count: int) -> Any:
    """Composes a step's distribution `count` times, in portions.

    dp_accounting bounds the length of the result by Chernoff's inequality at slopes that suit a step, not a run: of
    millions of small steps at once it would be hundreds of times too long.
    """
    if count < 4 * STEPS_PER_COMPOSITION:
        return step.self_compose(count) if count > 1 else step
    portions, left = divmod(count, STEPS_PER_COMPOSITION)
    most = _repeated(step.self_compose(STEPS_PER_COMPOSITION, 1e-15 / portions), portions)
    return most.compose(step.self_compose(left)) if left else most


@functools.lru_cache(maxsize=32)
def _step(
    kind: str, n: int, rate: float, cap: int, noise: float, adjacency: str, interval: float, records: int
) -> Any:
    """Returns one step's distribution, cached: it takes longer than composing it, and searches ask for it again."""
    from dp_accounting import NeighboringRelation
    from dp_accounting.pld import privacy_loss_distribution as pld
    from scipy import stats

    relation = NeighboringRelation.REPLACE_ONE if adjacency == "replace_one" else NeighboringRelation.ADD_OR_REMOVE_ONE
    if kind == "truncated_poisson":
        return pld.from_truncated_subsampled_gaussian_mechanism(
            n, rate, cap, noise, value_discretization_interval=interval, neighboring_relation=relation
        )
    if records > 1 and rate < 1:
        shifts = np.arange(records + 1)
        chances = stats.binom.pmf(shifts, records, rate)
        return pld.from_mixture_gaussian_mechanism(
            noise, shifts.tolist(), (chances / chances.sum()).tolist(), value_discretization_interval=interval
        )
    return pld.from_gaussian_mechanism(
        noise, value_discretization_interval=interval, sampling_prob=rate, neighboring_relation=relation
    )
