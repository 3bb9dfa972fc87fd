"""The accountants: phases of a run -> the epsilon at a delta, each by another theory, through dp_accounting.

Importing dp_accounting takes seconds, so that every function does it when called.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import optimize, special

from gecko_jax.privacy.phases import Phase
from gecko_jax.privacy.sampling import Sampling

INTERVAL = 1e-4  # of the losses' grid: dp_accounting's own default; its rounding only ever raises epsilon
LARGEST = 1e5  # an epsilon above it is not worth the memory of its grid


def _is_cut(sampling: Sampling) -> bool:
    return sampling.kind == "truncated_poisson" and sampling.cap < sampling.n


def _event(phase: Phase, halved: bool) -> Any:
    """dp_accounting's description of a phase. `halved` puts replace-one's doubled distance into the noise."""
    import dp_accounting as dp

    sampling, noise = phase.sampling, phase.effective_noise_multiplier * (0.5 if halved else 1.0)
    gaussian = dp.GaussianDpEvent(noise)
    if sampling.kind == "shuffled":
        # Given the order, each example enters one sum an epoch: parallel within the epoch, sequential over epochs.
        return dp.SelfComposedDpEvent(gaussian, sampling.epochs)
    if _is_cut(sampling):
        step = dp.TruncatedSubsampledGaussianDpEvent(sampling.n, sampling.rate, sampling.cap, noise)
    else:
        step = gaussian if sampling.rate == 1 else dp.PoissonSampledDpEvent(sampling.rate, gaussian)
    return dp.SelfComposedDpEvent(step, sampling.steps)


def _compose(accountant: Any, events: list[Any], delta: float) -> float:
    for event in events:
        accountant.compose(event)
    return float(accountant.get_epsilon(delta))


def rdp_epsilon(phases: Sequence[Phase], delta: float, adjacency: str) -> float:
    """Epsilon by Renyi differential privacy; ValueError where dp_accounting knows no Renyi bound."""
    from dp_accounting import rdp

    replace = adjacency == "replace_one"
    for sampling, *_ in phases:
        cut = _is_cut(sampling)
        if cut or (replace and sampling.kind != "shuffled" and sampling.rate < 1):
            what = "truncated Poisson sampling" if cut else "Poisson sampling under adjacency='replace_one'"
            raise ValueError(f"accountant='rdp' has no bound for {what}; take accountant='pld'.")
    return _compose(rdp.RdpAccountant(), [_event(phase, halved=replace) for phase in phases], delta)


def rough_epsilon(phases: Sequence[Phase], delta: float, adjacency: str) -> float:
    """An epsilon of the right size in milliseconds, for choosing grids and starting points: no bound."""
    from dp_accounting import rdp

    whole = [p._replace(sampling=p.sampling._replace(cap=p.sampling.n)) if _is_cut(p.sampling) else p for p in phases]
    orders = [*range(2, 33), 40, 48, 64, 96, 128, 256, 512, 1024]  # whole ones are the quick ones
    return _compose(rdp.RdpAccountant(orders), [_event(phase, adjacency == "replace_one") for phase in whole], delta)


def pld_epsilon(phases: Sequence[Phase], delta: float, adjacency: str, interval: float | None = None) -> float:
    """Epsilon by privacy loss distributions, on a grid of 1e-4, or of 1e-6 of epsilon where that exceeds 100.

    Above 100,000, where there is nothing left to protect, it is given as infinity. A figure takes seconds, and a run
    asks for the same one again and again (for its noise, its record, its report), so that figures are kept.
    """
    return _pld_epsilon(tuple(phases), delta, adjacency, interval)


@functools.lru_cache(maxsize=256)
def _pld_epsilon(phases: tuple[Phase, ...], delta: float, adjacency: str, interval: float | None) -> float:
    from dp_accounting import NeighboringRelation, pld

    if interval is None:
        rough = rough_epsilon(phases, delta, adjacency)
        if not rough <= LARGEST:
            return math.inf
        interval = INTERVAL * max(1.0, rough / 100)
    relation = NeighboringRelation.REPLACE_ONE if adjacency == "replace_one" else NeighboringRelation.ADD_OR_REMOVE_ONE
    return _compose(pld.PLDAccountant(relation, interval), [_event(phase, halved=False) for phase in phases], delta)


def clt_epsilon(phases: Sequence[Phase], delta: float, adjacency: str) -> float:
    """Epsilon of the Gaussian mechanism that many Poisson-sampled steps tend to; below the true one for any real run.

      mu^2 = sum over phases of rate^2 steps (exp(1 / z^2) - 1)
      delta = Phi(-epsilon / mu + mu / 2) - exp(epsilon) Phi(-epsilon / mu - mu / 2)
    """
    if adjacency != "add_or_remove" or any(phase.sampling.kind != "poisson" for phase in phases):
        raise ValueError("accountant='clt' knows Poisson sampling under add_or_remove only; take accountant='pld'.")
    with np.errstate(over="ignore"):
        parts = [
            p.sampling.rate**2 * p.sampling.steps * float(np.expm1(np.float64(p.effective_noise_multiplier) ** -2))
            for p in phases
        ]
    mu = math.sqrt(math.fsum(parts))
    if mu > 1e3:  # epsilon is about mu^2 / 2
        return math.inf

    def excess(value: float) -> float:
        tail = math.exp(value + special.log_ndtr(-value / mu - mu / 2))
        return float(special.ndtr(-value / mu + mu / 2)) - tail - delta

    return 0.0 if excess(0.0) <= 0 else float(optimize.brentq(excess, 0.0, mu * (mu / 2 + 40)))
