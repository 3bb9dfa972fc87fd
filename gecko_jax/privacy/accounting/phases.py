"""Phases of a run: steps that share sampling and noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from gecko_jax import checks
from gecko_jax.privacy.sampling import Sampling, check_sampling


def with_count(noise_multiplier: float, count_noise_multiplier: float | None) -> float:
    """Returns the noise multiplier of one Gaussian mechanism that costs as much as a sum and a noised count.

      z = (noise_multiplier^-2 + (2 count_noise_multiplier)^-2)^-1/2

    Both are sums over the same sample: together they are one Gaussian mechanism on longer vectors. The count must add
    up share - 1/2, with each example's share in 0..1: at most 1/2 in size, hence the factor 2.

    Args:
      noise_multiplier: of the gradient sum: noise's standard deviation over sensitivity.
      count_noise_multiplier: standard deviation of the noise on the count, over no sensitivity; None: no count.

    Source: Andrew, Thakkar, McMahan, Ramaswamy, "Differentially private learning with adaptive clipping" (NeurIPS
      2021), Theorem 1.
    """
    checks.at_least("noise_multiplier", noise_multiplier, 0)
    if count_noise_multiplier is None:
        return float(noise_multiplier)
    checks.at_least("count_noise_multiplier", count_noise_multiplier, 0)
    if noise_multiplier == 0 or count_noise_multiplier == 0:
        return 0.0
    return 1 / math.hypot(1 / noise_multiplier, 1 / (2 * count_noise_multiplier))


class Phase(NamedTuple):
    """Steps of a run that share sampling and noise.

    Attributes:
      sampling: who takes part in which step.
      noise_multiplier: standard deviation of the gradient sum's noise, over the clipping's sensitivity.
      count_noise_multiplier: standard deviation of the noise on adaptive clipping's count; None without one.

    >>> sampled = Phase(Sampling("poisson", 1000, 100, 50, 200), 3.0, count_noise_multiplier=2.0)
    >>> sampled.releases, sampled.is_one_release, round(sampled.effective_noise_multiplier, 9)  # (1/9 + 1/16)^-1/2
    (50, False, 2.4)
    >>> shuffled = Phase(Sampling("shuffled", 1000, 100, 50, 100), 3.0)
    >>> shuffled.releases, shuffled.is_one_release
    (5, True)
    """

    sampling: Sampling
    noise_multiplier: float
    count_noise_multiplier: float | None = None

    @property
    def effective_noise_multiplier(self) -> float:
        """Returns the noise multiplier of sum and count together, see `with_count`."""
        return with_count(self.noise_multiplier, self.count_noise_multiplier)

    @property
    def releases(self) -> int:
        """Returns how often an example may take part: once an epoch if shuffled, else in every step."""
        return self.sampling.epochs if self.sampling.kind == "shuffled" else self.sampling.steps

    @property
    def is_one_release(self) -> bool:
        """Tells whether the phase is one Gaussian mechanism, because no coin decides who takes part."""
        return self.sampling.kind == "shuffled" or (self.sampling.rate == 1 and not is_cut(self.sampling))

    def __str__(self) -> str:
        count = self.count_noise_multiplier
        noise = f"noise multiplier {self.noise_multiplier:g}"
        return f"{self.sampling}, {noise}" + ("" if count is None else f", count noise {count:g}")


def is_cut(sampling: Sampling) -> bool:
    """Tells whether batches may be cut, which makes an example's presence depend on the others'."""
    return sampling.kind == "truncated_poisson" and sampling.cap < sampling.n


def full_batch_probability(sampling: Sampling) -> float:
    """Returns the probability that the n - 1 other examples fill all slots of a batch."""
    if sampling.cap > sampling.n - 1:
        return 0.0
    return float(special.betainc(sampling.cap, sampling.n - sampling.cap, sampling.rate))


def log_sum(logs: np.ndarray) -> float:
    """Returns the logarithm of a sum of numbers [k] whose logarithms are given."""
    total: Any = special.logsumexp(logs)
    return float(total)


def _spread(name: str, value: Any, length: int) -> list[Any]:
    """Returns one value for each phase, from one for all or a sequence."""
    if isinstance(value, (Sequence, np.ndarray)):
        if len(value) != length:
            raise ValueError(f"{name} has {len(value)} values for {length} phases; give one for each, or one for all.")
        return list(value)
    return [value] * length


def phases_of(sampling: Any, noise_multiplier: Any, count_noise_multiplier: Any = None) -> tuple[Phase, ...]:
    """Builds the phases of a run from one Sampling or several, and one noise for all or one for each."""
    samplings = [sampling] if isinstance(sampling, Sampling) else list(checks.not_empty("sampling", sampling))
    for one in samplings:
        check_sampling(one)
    noise = _spread("noise_multiplier", noise_multiplier, len(samplings))
    count = _spread("count_noise_multiplier", count_noise_multiplier, len(samplings))
    return tuple(Phase(*row) for row in zip(samplings, noise, count, strict=True))
