"""Stretches of a run: who is sampled, and how much noise the sum of their gradients gets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from gecko_jax import checks
from gecko_jax.privacy.sampling import Sampling, check_sampling


def with_count(noise_multiplier: float, count_noise_multiplier: float | None) -> float:
    """The noise multiplier of one Gaussian mechanism that costs what a gradient sum and a noised count cost together.

      z = (noise_multiplier^-2 + (2 count_noise_multiplier)^-2)^-1/2

    Both are sums over the same sample, so that they are one Gaussian mechanism on longer vectors. The count must be
    taken of share - 1/2, each example's share in 0..1 less a half, which is at most 1/2 in size: that is where the 2
    comes from.

    Args:
      noise_multiplier: of the gradient sum: noise's standard deviation over sensitivity.
      count_noise_multiplier: standard deviation of the noise on the count (no sensitivity divided out); None for none.

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
      count_noise_multiplier: standard deviation of the noise on adaptive clipping's count, or None without one.
    """

    sampling: Sampling
    noise_multiplier: float
    count_noise_multiplier: float | None = None

    @property
    def effective_noise_multiplier(self) -> float:
        """Of the one Gaussian mechanism that the sum and the count make up together: `with_count`."""
        return with_count(self.noise_multiplier, self.count_noise_multiplier)

    @property
    def releases(self) -> int:
        """How often an example may take part: once an epoch where shuffled, else in every step."""
        return self.sampling.epochs if self.sampling.kind == "shuffled" else self.sampling.steps

    @property
    def is_one_release(self) -> bool:
        """Whether all is one Gaussian mechanism, as no coin decides who takes part."""
        return self.sampling.kind == "shuffled" or (self.sampling.rate == 1 and not is_cut(self.sampling))

    def __str__(self) -> str:
        count = self.count_noise_multiplier
        noise = f"noise multiplier {self.noise_multiplier:g}"
        return f"{self.sampling}, {noise}" + ("" if count is None else f", count noise {count:g}")


def is_cut(sampling: Sampling) -> bool:
    """Whether batches may be cut, so that an example's presence depends on the others'."""
    return sampling.kind == "truncated_poisson" and sampling.cap < sampling.n


def full_batch_probability(sampling: Sampling) -> float:
    """The probability that the n - 1 other examples alone fill all slots of a batch."""
    if sampling.cap > sampling.n - 1:
        return 0.0
    return float(special.betainc(sampling.cap, sampling.n - sampling.cap, sampling.rate))


def _spread(name: str, value: Any, length: int) -> list[Any]:
    """One value for all phases, or one for each."""
    if isinstance(value, (Sequence, np.ndarray)):
        if len(value) != length:
            raise ValueError(f"{name} has {len(value)} values for {length} phases; give one for each, or one for all.")
        return list(value)
    return [value] * length


def phases_of(sampling: Any, noise_multiplier: Any, count_noise_multiplier: Any = None) -> tuple[Phase, ...]:
    """The phases of a run from one Sampling or several, and one noise for all or one for each; see `epsilon`."""
    samplings = [sampling] if isinstance(sampling, Sampling) else list(checks.not_empty("sampling", sampling))
    for one in samplings:
        check_sampling(one)
    noise = _spread("noise_multiplier", noise_multiplier, len(samplings))
    count = _spread("count_noise_multiplier", count_noise_multiplier, len(samplings))
    return tuple(Phase(*row) for row in zip(samplings, noise, count, strict=True))
