"""Accounts for a private run: the epsilon of the sampling that was drawn and the noise that was added.

Guarantee: a run of `private_gradients` on the batches of this Sampling, with at least this noise, is (epsilon,
delta)-differentially private under the adjacency that is named, for every accountant but "clt". Sampling and accounting
read one record, phases compose, a noised count is charged, shuffling is not taken for sampling, and the answer carries
its assumptions. No accountant here includes: a teacher that saw the records of its student, metrics computed on
training data, hyperparameters chosen by several private runs, and the finite precision of floating-point noise.

| argument | 0 | NaN | infinite | tiny or large |
|---|---|---|---|---|
| noise_multiplier | epsilon is infinite | refused | epsilon 0 | below 1e-100: infinite; .001: millions |
| count_noise_multiplier | epsilon is infinite | refused | costs nothing | as noise_multiplier |
| delta | refused | refused | refused | 1e-300 is answered; from 1/n on a warning; .5 may give epsilon 0 |
| epsilon (of `delta`) | the total variation distance | refused | refused | delta below 2.2e-308 is given as 2.2e-308 |
| target_epsilon | refused | refused | refused | refused if no noise from 1e-100 to 1e100 meets it |
"""

from __future__ import annotations

import decimal
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.json_values import plain
from gecko_jax.privacy.accounting.accountants import (
    clt_epsilon,
    pld_epsilon,
    rdp_epsilon,
    tightest_epsilon,
    tightest_log_deltas,
)
from gecko_jax.privacy.accounting.participation import participation_epsilon
from gecko_jax.privacy.accounting.phases import Phase, phases_of
from gecko_jax.privacy.sampling import Sampling
from gecko_jax.types import Estimate

ACCOUNTANTS = {
    "pld": "privacy loss distributions, an upper bound",
    "rdp": "Renyi differential privacy, an upper bound",
    "gaussian": "the Gaussian mechanism averaged over how often an example takes part, an upper bound",
    "clt": "the central limit theorem, an approximation and NOT a bound",
}
TIGHTEST = "tightest"  # not an accountant: the smallest of the upper bounds above
BOUNDS = {"pld": pld_epsilon, "rdp": rdp_epsilon, "gaussian": participation_epsilon, "clt": clt_epsilon}
ADJACENCIES = {
    "add_or_remove": "one example added or removed",
    "replace_one": "one example replaced by any other",
}


class Epsilon(NamedTuple):
    """A privacy guarantee with all its assumptions. `float(epsilon)` is its value; `str` states everything.

    Attributes:
      value: the epsilon.
      delta: at which it holds.
      adjacency: "add_or_remove" or "replace_one", what makes two data sets neighbors.
      accountant: "pld", "rdp", "gaussian" or "clt": whose value it is.
      phases: what was accounted for.
      records: how many examples of one person it protects together.
      rows_per_user: the most examples that one person has, if users were given; 1 if each has one, or if unknown.
    """

    value: float
    delta: float
    adjacency: str
    accountant: str
    phases: tuple[Phase, ...]
    records: int = 1
    rows_per_user: int = 1

    @property
    def kind(self) -> str:
        """"modeled": computed from the mechanism, not measured on a model."""
        return "modeled"

    def estimate(self) -> Estimate:
        """Returns the figure as reports take it.

        >>> spent = epsilon(Sampling("poisson", 1000, 10, 100, 40), 1.0, 1e-4)
        >>> spent.estimate().value == float(spent), spent.kind
        (True, 'modeled')
        """
        return Estimate(self.value, kind=self.kind)

    def to_json(self) -> dict[str, Any]:
        """Returns the guarantee in JSON's types.

        >>> spent = epsilon(Sampling("poisson", 1000, 10, 100, 40), 1.0, 1e-4)
        >>> Epsilon.from_json(spent.to_json()) == spent
        True
        """
        return plain(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Epsilon:
        """Reads what `to_json` returned.

        Raises:
          ValueError: fields that are not a guarantee's.
        """
        try:
            phases = tuple(Phase(**{**phase, "sampling": Sampling(**phase["sampling"])}) for phase in fields["phases"])
            checks.one_of("adjacency", fields["adjacency"], ADJACENCIES)
            checks.one_of("accountant", fields["accountant"], ACCOUNTANTS)
            return cls(**{**fields, "value": float(fields["value"]), "phases": phases})
        except (KeyError, TypeError) as error:
            raise ValueError(f"{fields!r} is not a guarantee that Epsilon.to_json wrote: {error}.") from error

    def __float__(self) -> float:
        return float(self.value)

    def __str__(self) -> str:
        adjacency = ADJACENCIES[self.adjacency]
        if self.adjacency == "add_or_remove" and any(p.sampling.kind == "shuffled" for p in self.phases):
            adjacency += " (if shuffled: its slot is left empty or filled, and the other batches stay as they are)"
        if self.records > 1:
            adjacency = f"{self.records} examples of one person at once, each: {adjacency}"
        if self.rows_per_user > self.records:
            adjacency += (
                f" (and NOT a person: one person has {self.rows_per_user:,} examples here, see privacy.user_epsilon)"
            )
        phases = "; then ".join(str(phase) for phase in self.phases)
        how = f"{adjacency}; {ACCOUNTANTS[self.accountant]}"
        return f"epsilon {_rounded_up(self.value)} at delta {self.delta:g}, modeled: {how}; {phases}"


def _rounded_up(value: float) -> str:
    """Formats a bound in six digits (at most three decimals; four digits if small), rounded up."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = 6 if value >= 0.1 else 4
    exact = decimal.Decimal(value)
    unit = decimal.Decimal(1).scaleb(max(exact.adjusted() - digits + 1, -3 if value >= 0.1 else -400))
    return f"{float(exact.quantize(unit, rounding=decimal.ROUND_CEILING)):.10g}"


def check_delta(delta: float, phases: Sequence[Phase]) -> float:
    """Raises ValueError unless 0 < delta < 1, and warns from 1/n on, where publishing one random example would pass."""
    if not 0 < delta < 1:
        raise ValueError(f"delta={delta!r} must lie above 0 and below 1, for example 1e-5 for 60,000 examples.")
    n = max(phase.sampling.n for phase in phases)
    if delta >= 1 / n:
        warnings.warn(
            f"delta={delta:g} is not below 1/n = {1 / n:.3g}: publishing one random example in full would satisfy it. "
            "Choose a smaller delta.",
            UserWarning,
            stacklevel=3,
        )
    return float(delta)


def epsilon(
    sampling: Sampling | Sequence[Sampling],
    noise_multiplier: float | Sequence[float],
    delta: float,
    accountant: str = TIGHTEST,
    adjacency: str = "add_or_remove",
    count_noise_multiplier: float | None | Sequence[float | None] = None,
) -> Epsilon:
    """Computes the epsilon of a private training run.

    Shuffled batches get no amplification by sampling: they are one Gaussian release an epoch. "Removed" then means that
    the example's slot stays empty, because n and the order of the others count as public. Edge cases: see the head of
    this file.

    Args:
      sampling: how the run's batches are drawn; a sequence for phases that differ.
      noise_multiplier: standard deviation of the noise on the gradient sum, over the clipping's sensitivity (under
        add-or-remove; for replace_one the accountant doubles the sensitivity). One number, or one for each phase.
      delta: above 0, and well below 1/n: from 1/n on, a warning is given.
      accountant: "tightest", the smallest of all upper bounds below. Or one by name, for a comparison: "pld", privacy
        loss distributions, usually the tightest, but not at a tiny delta or after billions of steps; "rdp", as many
        papers report; "gaussian", see `participation`, exact for full and shuffled batches; "clt", not a bound. If the
        one that you name has no finite bound and another has, you get the other: `.accountant` says which.
      adjacency: "add_or_remove" or "replace_one"; the latter is the stronger promise and has the larger epsilon.
      count_noise_multiplier: standard deviation of the noise on adaptive clipping's count of share - 1/2, released
        with each sum (see `with_count`); None without adaptive clipping. One number, or one for each phase.

    Returns:
      An Epsilon: the value with its assumptions, which `str` prints.

    Raises:
      ValueError: for an unknown name, a value out of range, or an accountant that has no bound for the sampling.

    Example:
      >>> from gecko_jax.privacy.sampling import poisson
      >>> round(float(epsilon(poisson(60_000, 256, 14_063), 1.1, 1e-5, accountant="rdp")), 2)
      2.6

    Source: Mironov, Talwar, Zhang (arXiv 1908.10530) for rdp; Koskela, Jaelkoe, Honkela (arXiv 1906.03049) and
      Doroshenko et al. (arXiv 2207.04380) for pld; Bu, Dong, Long, Su (arXiv 1911.11607) for clt.
    """
    checks.one_of("accountant", accountant, [TIGHTEST, *ACCOUNTANTS])
    checks.one_of("adjacency", adjacency, ADJACENCIES)
    phases = phases_of(sampling, noise_multiplier, count_noise_multiplier)
    delta = check_delta(delta, phases)
    if accountant != TIGHTEST:
        value = math.inf if no_noise(phases) else BOUNDS[accountant](phases, delta, adjacency)
        if math.isfinite(value) or accountant == "clt" or no_noise(phases):
            return Epsilon(value, delta, adjacency, accountant, phases)
    value, accountant = (math.inf, "gaussian") if no_noise(phases) else tightest_epsilon(phases, delta, adjacency)
    return Epsilon(value, delta, adjacency, accountant, phases)


def delta(
    sampling: Sampling | Sequence[Sampling],
    noise_multiplier: float | Sequence[float],
    epsilon: float,
    adjacency: str = "add_or_remove",
    count_noise_multiplier: float | None | Sequence[float | None] = None,
) -> float:
    """Returns the delta of a private training run at a given epsilon: the smallest of the upper bounds.

    Args:
      sampling, noise_multiplier, adjacency, count_noise_multiplier: see `epsilon`.
      epsilon: at least 0 and finite.

    Returns:
      delta in 0..1; 1 without noise. A delta below 2.2e-308, the smallest normal float, is given as that.

    Raises:
      ValueError: for an unknown name or a value out of range.

    Example:
      >>> from gecko_jax.privacy.sampling import poisson
      >>> round(delta(poisson(1000, 1000, steps=1), 1.0, epsilon=4.377), 7)  # the Gaussian mechanism
      1e-05

    Source: see `epsilon`.
    """
    checks.one_of("adjacency", adjacency, ADJACENCIES)
    checks.at_least("epsilon", epsilon, 0)
    if math.isinf(epsilon):
        raise ValueError(f"epsilon={epsilon!r} must be finite: every run keeps it, whatever its delta.")
    phases = phases_of(sampling, noise_multiplier, count_noise_multiplier)
    if no_noise(phases):
        return 1.0
    log_delta = float(tightest_log_deltas(phases, np.array([epsilon], np.float64), adjacency)[0])
    return 0.0 if log_delta == -math.inf else max(math.exp(log_delta), np.finfo(np.float64).tiny)


def no_noise(phases: Sequence[Phase]) -> bool:
    """Tells whether some phase releases its sums without noise."""
    return any(phase.effective_noise_multiplier == 0 for phase in phases)
