"""The accountants: the epsilon of a run's phases by several theories, and the smallest of these bounds.

Importing dp_accounting takes seconds: every function does it when called.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gecko_jax.metrics.gaussian_dp import gaussian_epsilon
from gecko_jax.privacy.accounting import loss_distributions
from gecko_jax.privacy.accounting.participation import is_exact, participation_epsilon, participation_log_deltas
from gecko_jax.privacy.accounting.phases import Phase, is_cut
from gecko_jax.privacy.accounting.renyi import renyi_epsilon, renyi_log_deltas

CURVE_COARSENESS = 4  # of the grid for many deltas at once, each of which reads all of it


def _event(phase: Phase, halved: bool) -> Any:
    """Describes a phase to dp_accounting. `halved` puts replace-one's doubled distance into the noise."""
    import dp_accounting as dp

    sampling, noise = phase.sampling, phase.effective_noise_multiplier * (0.5 if halved else 1.0)
    gaussian = dp.GaussianDpEvent(noise)
    if sampling.kind == "shuffled":
        # Given the order, each example enters one sum an epoch: parallel within the epoch, sequential over epochs.
        return dp.SelfComposedDpEvent(gaussian, sampling.epochs)
    step = gaussian if sampling.rate == 1 else dp.PoissonSampledDpEvent(sampling.rate, gaussian)
    return dp.SelfComposedDpEvent(step, sampling.steps)


def rdp_epsilon(phases: Sequence[Phase], delta: float, adjacency: str) -> float:
    """Computes epsilon by Renyi differential privacy; ValueError if dp_accounting knows no Renyi bound."""
    replace = adjacency == "replace_one"
    for sampling, *_ in phases:
        cut = is_cut(sampling)
        if cut or (replace and sampling.kind != "shuffled" and sampling.rate < 1):
            what = "truncated Poisson sampling" if cut else "Poisson sampling under adjacency='replace_one'"
            raise ValueError(f"accountant='rdp' has no bound for {what}; take accountant='pld'.")
    return min(_published_rdp(phases, delta, replace), renyi_epsilon(phases, delta, adjacency))


def _published_rdp(phases: Sequence[Phase], delta: float, replace: bool) -> float:
    """Returns dp_accounting's figure; infinite if its rounding leaves none to trust."""
    from dp_accounting import rdp

    if min(phase.effective_noise_multiplier for phase in phases) < 1e-100:  # whose square is 0
        return math.inf
    accountant = rdp.RdpAccountant()
    for phase in phases:
        accountant.compose(_event(phase, halved=replace))
    if (accountant.rdp < 0).any():  # a divergence that rounding took below 0, which it would call epsilon 0
        return math.inf
    return float(accountant.get_epsilon(delta))


def rough_epsilon(phases: Sequence[Phase], delta: float, adjacency: str) -> float:
    """Bounds epsilon in milliseconds, to the right order of magnitude, to choose grids and starting points."""
    return min(renyi_epsilon(phases, delta, adjacency), participation_epsilon(phases, delta, adjacency))


def pld_epsilon(phases: Sequence[Phase], delta: float, adjacency: str, interval: float | None = None) -> float:
    """Computes epsilon by privacy loss distributions, on a grid of this interval or of one that suits the run.

    Infinite if dp_accounting's arithmetic cannot tell: at a tiny delta, or with almost no noise.
    """
    if interval is None:
        interval = loss_distributions.grid_interval(phases, adjacency, rough_epsilon(phases, delta, adjacency))
    return loss_distributions.pld_epsilon(phases, delta, adjacency, interval)


def tightest_epsilon(
    phases: Sequence[Phase], delta: float, adjacency: str, coarseness: float = 1.0
) -> tuple[float, str]:
    """Returns the smallest of the valid bounds, and its accountant. All noise is above 0.

    Args:
      phases, delta, adjacency: see `privacy.epsilon`.
      coarseness: of the privacy loss distribution's grid, times the usual one: 1 gives the figure, 8 a quick guess.
    """
    closed = participation_epsilon(phases, delta, adjacency)
    if is_exact(phases):
        return closed, "gaussian"
    renyi = renyi_epsilon(phases, delta, adjacency)
    rough = min(closed, renyi)
    tight = math.inf
    if 0 < rough < math.inf:
        interval = loss_distributions.grid_interval(phases, adjacency, rough) * coarseness
        tight = loss_distributions.pld_epsilon(phases, delta, adjacency, interval)
    if coarseness == 1 and 0 < renyi < tight:
        with contextlib.suppress(ValueError):  # no published one for this sampling
            renyi = rdp_epsilon(phases, delta, adjacency)  # its fractional orders too
    return min((tight, "pld"), (renyi, "rdp"), (closed, "gaussian"), key=lambda one: one[0])


def tightest_log_deltas(phases: Sequence[Phase], epsilons: np.ndarray, adjacency: str) -> np.ndarray:
    """Returns the logarithms [k] of the smallest valid deltas at epsilons [k]. All noise is above 0."""
    values = np.minimum(0.0, participation_log_deltas(phases, epsilons, adjacency))
    if is_exact(phases):
        return values
    values = np.minimum(values, renyi_log_deltas(phases, epsilons, adjacency))
    interval = loss_distributions.grid_interval(phases, adjacency, rough_epsilon(phases, 1e-6, adjacency))
    interval *= 1 if len(epsilons) == 1 else CURVE_COARSENESS
    return np.minimum(values, np.log(loss_distributions.pld_deltas(phases, epsilons, adjacency, interval)))


def clt_epsilon(phases: Sequence[Phase], delta: float, adjacency: str) -> float:
    """Computes the epsilon of the Gaussian mechanism that many Poisson-sampled steps tend to: below the true one.

      mu^2 = sum over phases of rate^2 steps (exp(1 / z^2) - 1)
      delta = Phi(-epsilon / mu + mu / 2) - exp(epsilon) Phi(-epsilon / mu - mu / 2)
    """
    if adjacency != "add_or_remove" or any(phase.sampling.kind != "poisson" for phase in phases):
        raise ValueError("accountant='clt' knows Poisson sampling under add_or_remove only; take accountant='pld'.")
    with np.errstate(over="ignore"):
        parts = [
            p.sampling.rate**2 * p.sampling.steps * float(np.expm1((1 / np.float64(p.effective_noise_multiplier)) ** 2))
            for p in phases
        ]
    return gaussian_epsilon(math.sqrt(math.fsum(parts)), delta)
