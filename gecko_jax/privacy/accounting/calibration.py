"""Calibration: the noise, or the number of steps, that a privacy budget allows.

A figure of the tight accountant takes about a second on its own grid, and a tenth of that on one eight times as coarse;
the two differ by a nearly constant factor. So the search brackets with the bounds that take milliseconds, continues on
the coarse grid, and confirms on the fine one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

from gecko_jax import checks, keys
from gecko_jax.privacy.accounting.accountants import rough_epsilon, tightest_epsilon
from gecko_jax.privacy.accounting.epsilon import ADJACENCIES, check_delta
from gecko_jax.privacy.accounting.groups import group_epsilon
from gecko_jax.privacy.accounting.phases import Phase, phases_of
from gecko_jax.privacy.sampling import Sampling

COARSENESS = 8.0  # of the grid that is searched on, in intervals of the grid that decides
NOISES = (1e-100, 1e100)  # of noise multipliers that are tried
WINDOW = 5e-4  # relative, of epsilon below its target: so at most of the noise above the smallest, too
GROUP_WINDOW = 0.02  # the same for several records, each of whose figures takes seconds


def _meet(f: Callable[[float], float], target: float, start: float, window: float, jump: float = 1e-4) -> float:
    """Solves target * (1 - window) <= f(x) <= target for a falling f: secants in log f over log x, in a bracket.

    If f jumps over the window, x has f(x) <= target and is too large by a factor of at most 1 + jump.
    """
    low = high = None  # (x, f(x)): f exceeds the target at low, and does not at high
    x = start
    for count in range(200):
        value = f(x)
        if target * (1 - window) <= value <= target:
            return x
        low, high = ((x, value), high) if value > target else (low, (x, value))
        if low and high and high[0] <= low[0] * (1 + jump):
            return high[0]
        if low and high:
            share = 0.5
            if count % 4 != 3 and math.isfinite(low[1]) and high[1] > 0:  # halve at times, whatever happens
                share = math.log(low[1] / (target * (1 - window / 2))) / math.log(low[1] / high[1])
            x = low[0] * (high[0] / low[0]) ** min(max(share, 0.02), 0.98)
        else:  # epsilon falls about as 1/noise if small, as its square if large
            ratio = min(max(value / target, 1e-12), 1e12) if value < math.inf else 1e12
            x *= ratio if 0.25 < ratio < 4 else math.sqrt(ratio) if ratio > 1 or target > 1 else max(ratio, 0.25)
            x *= 1.02 if value > target else 0.98  # and past the target, so that there is a bracket soon
        if not NOISES[0] < x < NOISES[1]:
            break
    if high is not None and high[1] == 0:
        raise ValueError(
            f"target_epsilon={target!r} holds at any noise multiplier down to {NOISES[0]:g}, because delta alone "
            "covers the chance that an example takes part at all. Choose a smaller delta, well below 1/n."
        )
    raise ValueError(
        f"target_epsilon={target!r} is out of reach: no noise multiplier between {NOISES[0]:g} and {NOISES[1]:g} gives "
        "it at this delta. Choose a target_epsilon closer to 1, which is also a more meaningful guarantee."
    )


def _smallest(phases_at: Callable[[float], tuple[Phase, ...]], target: float, delta: float, adjacency: str) -> float:
    """Finds the smallest noise whose epsilon meets the target, confirmed by the accountant on its own grid."""
    start = _meet(lambda noise: rough_epsilon(phases_at(noise), delta, adjacency), target, 1.0, 0.05)
    known: dict[float, float] = {}

    def coarse(noise: float) -> float:
        if noise not in known:
            known[noise] = tightest_epsilon(phases_at(noise), delta, adjacency, COARSENESS)[0]
        return known[noise]

    def fine(noise: float) -> float:
        return tightest_epsilon(phases_at(noise), delta, adjacency)[0]

    best, ratio, latest = math.inf, 1.0, start  # ratio: coarse epsilon over fine epsilon
    for _ in range(4):
        latest = _meet(coarse, target * ratio * (1 - WINDOW / 3), latest, WINDOW / 3)
        value = fine(latest)
        if value <= target:
            best = min(best, latest)
            if value >= target * (1 - WINDOW):
                return best
        if not 0.8 * value < coarse(latest) < 1.25 * value:  # an epsilon that the coarse grid cannot resolve
            break
        ratio = coarse(latest) / value
    # The two grids disagree in an unusual way: the fine one alone, slower.
    return _meet(fine, target, latest, WINDOW, 1e-6)


def calibrate_noise(
    sampling: Sampling | Sequence[Sampling],
    target_epsilon: float,
    delta: float,
    adjacency: str = "add_or_remove",
    count_noise_multiplier: float | None = None,
    records: int = 1,
) -> float:
    """Finds the smallest noise multiplier that keeps a run within a privacy budget, by the smallest upper bound.

    Args:
      sampling: how the run's batches are drawn; a sequence for phases that differ in it and share the noise.
      target_epsilon: the budget, above 0.
      delta: see `privacy.epsilon`.
      adjacency: "add_or_remove" or "replace_one".
      count_noise_multiplier: of adaptive clipping's noised count, whose cost is set aside; None without one.
      records: how many records of one person the budget covers together; see `group_epsilon`, whose figure it is then.

    Returns:
      The noise multiplier: its `privacy.epsilon` is at most `target_epsilon`, and it is at most 0.1 % above the
      smallest of which this is true (5 % if `records` exceeds 1).

    Raises:
      ValueError: for a value out of range, a budget that the noised count alone uses up, or one that needs no noise.

    Example:
      >>> from gecko_jax.privacy.sampling import poisson
      >>> one_step = poisson(1000, 1000, steps=1)  # the Gaussian mechanism
      >>> round(calibrate_noise(one_step, target_epsilon=1.0, delta=1e-5), 2)
      3.73
    """
    checks.positive("target_epsilon", target_epsilon)
    checks.one_of("adjacency", adjacency, ADJACENCIES)
    if count_noise_multiplier is not None:
        checks.positive("count_noise_multiplier", count_noise_multiplier)
    delta = check_delta(delta, phases_of(sampling, 1.0))
    if checks.integer("records", records, 1) == 1:
        together = _smallest(lambda noise: phases_of(sampling, noise), float(target_epsilon), delta, adjacency)
    else:
        together = _meet(
            lambda noise: group_epsilon(sampling, noise, delta, records, adjacency).value,
            float(target_epsilon),
            float(records),
            GROUP_WINDOW,
        )
    if count_noise_multiplier is None:
        return together
    left = together**-2 - (2 * count_noise_multiplier) ** -2
    if left <= 0:
        raise ValueError(
            f"count_noise_multiplier={count_noise_multiplier!r} spends target_epsilon={target_epsilon!r} alone: it "
            f"must exceed {together / 2:.4g}, by a factor of 2 or more for the gradients to have most of the budget."
        )
    return left**-0.5 * (1 + 1e-9)  # rounding must not take sum and count over the budget


def affordable_steps(
    sampling: Sampling,
    noise_multiplier: float,
    target_epsilon: float,
    delta: float,
    adjacency: str = "add_or_remove",
    count_noise_multiplier: float | None = None,
) -> int:
    """Finds the largest number of steps that a privacy budget allows, by the smallest upper bound.

    Args:
      sampling: how batches are drawn; its number of steps is ignored.
      noise_multiplier, delta, adjacency, count_noise_multiplier: see `privacy.epsilon`.
      target_epsilon: the budget, above 0.

    Returns:
      The steps (full epochs if shuffled); 0 if not even the first is within the budget.

    Raises:
      ValueError: for a value out of range.

    Example:
      >>> from gecko_jax.privacy.sampling import poisson
      >>> affordable_steps(poisson(1000, 1000, steps=1), 10.0, target_epsilon=1.0, delta=1e-5)  # full batches
      7
    """
    checks.positive("target_epsilon", target_epsilon)
    checks.positive("noise_multiplier", noise_multiplier)
    if count_noise_multiplier is not None:
        checks.positive("count_noise_multiplier", count_noise_multiplier)
    checks.one_of("adjacency", adjacency, ADJACENCIES)
    if not isinstance(sampling, Sampling):
        raise ValueError(f"sampling={sampling!r} must be one Sampling: steps are counted for one phase at a time.")
    unit = sampling.steps // sampling.epochs if sampling.kind == "shuffled" else 1
    phase = phases_of(sampling, noise_multiplier, count_noise_multiplier)[0]
    delta = check_delta(delta, [phase])

    def phases(units: int) -> list[Phase]:
        return [phase._replace(sampling=sampling._replace(steps=units * unit))]

    most = keys.MAX_SEED // unit
    safe = _last(lambda units: rough_epsilon(phases(units), delta, adjacency), target_epsilon, 0, most, 1)
    if safe == most:
        return most * unit
    coarse = functools.cache(lambda units: tightest_epsilon(phases(units), delta, adjacency, COARSENESS)[0])
    guess = _last(coarse, target_epsilon, 0, most, max(1, safe), tolerance=WINDOW)
    fine = functools.cache(lambda units: tightest_epsilon(phases(units), delta, adjacency)[0])
    return unit * _last(fine, target_epsilon, 0, most, max(1, guess))


def _last(
    cost: Callable[[int], float], budget: float, low: int, most: int, start: int, tolerance: float = 0.0
) -> int:
    """Finds x in low..most with cost(x) <= budget < cost(x + 1); `most` if all of them are within the budget.

    Secants in log cost over log x, in a bracket, which is halved at times. With a tolerance, the lower end of a bracket
    as narrow as that share of x.
    """
    points: dict[int, float] = {}  # costs above 0, for the secants
    high, x = most + 1, min(max(start, low + 1), most)
    for count in range(400):
        value = cost(x)
        points[x] = value
        low, high = (x, high) if value <= budget else (low, x)
        if high - low <= max(1, tolerance * low):
            break
        near = sorted((p for p in points if 0 < points[p] < math.inf), key=lambda p: abs(math.log(points[p] / budget)))
        aim = None
        if len(near) > 1 and points[near[0]] != points[near[1]]:
            steep = math.log(points[near[0]] / points[near[1]]) / math.log(near[0] / near[1])
            if steep > 0:
                aim = near[0] * math.exp(min(max(math.log(budget / points[near[0]]) / steep, -7.0), 7.0))
        elif near:
            aim = near[0] * min(max((budget / points[near[0]]) ** 1.5, 1e-3), 1e3)
        if aim is None:
            aim = low * 4 if high > most else (low + high) / 2
        x = int(aim)
        if count % 4 == 3 and high <= most:
            x = int(math.sqrt(max(low, 1) * high)) if high > 4 * low else (low + high) // 2
        elif x == low:
            x += 1  # the one that confirms it
        x = min(max(x, low + 1), high - 1)
    return low
