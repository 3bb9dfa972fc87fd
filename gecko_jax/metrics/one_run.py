"""Empirical lower bounds on epsilon from one training run with many canaries.

Each of m canaries is in the training set or not by a fair coin of its own. The auditor sees the model and guesses r of
the m coins, abstaining on the rest; under privacy, too many right guesses are unlikely. Canaries may influence each
other as they like: it is the coins that are independent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from gecko_jax import checks
from gecko_jax.metrics.gaussian_dp import check_claim, gaussian_epsilon
from gecko_jax.metrics.roc import scored_pairs
from gecko_jax.types import Array, Estimate


class OneRunBound(NamedTuple):
    """A lower bound on epsilon, and the guesses that it comes from.

    Attributes:
      epsilon: the bound as an Estimate, n the canaries. It has no low and high: it is itself the low end.
      guesses: number of coins that were guessed.
      correct: number of guesses that were right.
      choice: how the number of guesses was chosen, in words.
    """

    epsilon: Estimate
    guesses: int
    correct: int
    choice: str

    @property
    def value(self) -> float:
        """The bound as a number."""
        return self.epsilon.value


def one_run_epsilon(
    correct: int,
    guesses: int,
    canaries: int,
    delta: float = 0.0,
    confidence: float = 0.95,
    assumption: str = "dp",
) -> float:
    """Returns a lower bound on epsilon from v right ones of r guesses about m canaries in one run.

    "dp": with q = 1 / (1 + e^-epsilon), an (epsilon, delta)-private run has
    P[v or more right] <= P[Bin(r, q) >= v] + 2 m delta max_{1 <= i <= v} P[v > Bin(r, q) >= v - i] / i,
    and the bound is the largest epsilon at which the right side is below 1 - confidence.
    "gaussian": the largest mu that the recursion of `_gaussian_refutes` refutes, as an epsilon at delta.

    Args:
      correct: v, at most r.
      guesses: r, at most m, at least 1; fixed beforehand.
      canaries: m, each in by a fair coin of its own, including those that were not guessed.
      delta: in [0, 1).
      confidence: in (0, 1).
      assumption: "dp", nothing but (epsilon, delta)-privacy; "gaussian", that the run's trade-off for one canary is
        that of a Gaussian mechanism, which is tighter and needs delta > 0.

    Returns:
      The bound, at least 0.

    Raises:
      ValueError: counts that are not integers or out of order, or an argument outside its bound.

    Source: Steinke, Nasr and Jagielski, "Privacy Auditing with One (1) Training Run" (arXiv 2305.08846);
    Mahloujifar, Melis and Chaudhuri, "Auditing f-Differential Privacy in One Run" (arXiv 2410.22235).

    >>> round(one_run_epsilon(150, 200, 1000, delta=1e-5), 2)
    0.82
    >>> round(one_run_epsilon(150, 200, 1000, delta=1e-5, assumption="gaussian"), 2)
    1.3
    """
    check_claim(delta, confidence, assumption)
    canaries = checks.integer("canaries", canaries, 1)
    guesses = int(checks.in_range("guesses", checks.integer("guesses", guesses, 1), 1, canaries))
    correct = int(checks.in_range("correct", checks.integer("correct", correct, 0), 0, guesses))
    if correct == 0:
        return 0.0
    if assumption == "gaussian":
        mu = _largest(_gaussian_refutes(correct, guesses, canaries, 1 - confidence), points=64)
        return gaussian_epsilon(mu, delta)
    return _largest(_dp_refutes(correct, guesses, canaries, delta, 1 - confidence), points=1)


def _dp_refutes(v: int, r: int, m: int, delta: float, alpha: float) -> Callable[[np.ndarray], np.ndarray]:
    """Returns epsilons [k] -> bool [k]: whether v right guesses of r are too many for this epsilon."""
    below = np.arange(v)[::-1]  # v - 1, v - 2, ..., 0 right
    log_choose = special.gammaln(r + 1) - special.gammaln(below + 1) - special.gammaln(r - below + 1)

    def chance(epsilon):
        tail = special.betainc(v, r - v + 1, special.expit(epsilon))  # P[Bin(r, q) >= v]
        if delta == 0:
            return tail
        log_pmf = log_choose + below * special.log_expit(epsilon) + (r - below) * special.log_expit(-epsilon)
        return tail + 2 * m * delta * (np.cumsum(np.exp(log_pmf)) / np.arange(1, v + 1)).max()

    return lambda epsilons: np.array([chance(epsilon) < alpha for epsilon in epsilons])


def _gaussian_refutes(v: int, r: int, m: int, alpha: float) -> Callable[[np.ndarray], np.ndarray]:
    """Returns mus [k] -> bool [k]: whether v right guesses of r are too many for a mu-Gaussian trade-off.

    If v or more right guesses had the chance alpha, then h[v] >= alpha (r - v) / m and q[v] >= alpha v / m, and for
    i = v - 1, ..., 0 privacy requires h[i] = max(h[i+1], Phi(Phi^-1(q[i+1]) - mu)) and
    q[i] = q[i+1] + i / (r - i) (h[i] - h[i+1]). If q[0] + h[0] > r / m, such a distribution does not exist.
    """

    def refutes(mus):
        h, q = np.full(len(mus), alpha * (r - v) / m), np.full(len(mus), alpha * v / m)
        for i in range(v - 1, -1, -1):
            rise = special.ndtr(special.ndtri(np.minimum(q, 1.0)) - mus) - h
            active = (rise > 0) & (q + h <= r / m)  # sums never fall, and once h stops rising, q and h stay as they are
            if not active.any():
                break
            rise = np.maximum(rise, 0.0)
            h += rise
            q += i / (r - i) * rise
        return q + h > r / m

    return refutes


def _largest(refutes: Callable[[np.ndarray], np.ndarray], points: int) -> float:
    """Returns the largest x >= 0 that is refuted, from below, if all smaller ones are refuted too; 0 if none is."""
    if not refutes(np.zeros(1))[0]:
        return 0.0
    low, high = 0.0, 1.0
    while high < 2**10 and refutes(np.array([high]))[0]:
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        grid = np.linspace(low, high, points + 2)
        k = int(refutes(grid[1:-1]).sum())
        low, high = grid[k], grid[k + 1]
    return float(low)


def one_run_epsilon_from_scores(
    scores: Array,
    member: Array,
    guesses: int | Sequence[int] | Array,
    delta: float = 0.0,
    confidence: float = 0.95,
    assumption: str = "dp",
    seed: int = 0,
) -> OneRunBound:
    """Returns a lower bound on epsilon from the scores of m canaries in one run; see `one_run_epsilon`.

    The r - r // 2 highest scores are guessed to be in, the r // 2 lowest to be out. Equal scores are ordered at random.

    Args:
      scores: [m] numbers, larger for a likelier member, of ALL canaries.
      member: [m] bool, each canary's coin: fair, and independent of all others.
      guesses: r, fixed beforehand; or several [k], each judged with alpha / k (Bonferroni), the best taken.
      delta, confidence, assumption: see `one_run_epsilon`.
      seed: of that random order, fixed beforehand.

    Returns:
      A OneRunBound; `.value` is the number.

    Raises:
      ValueError: see `roc.scored_pairs` and `one_run_epsilon`; a share of members that fair coins do not give.

    >>> bound = one_run_epsilon_from_scores([9, 8, 7, 6, 5, 4, 3, 2, 1, 0], [True] * 5 + [False] * 5, guesses=10)
    >>> bound.correct, round(bound.value, 3)  # q^10 = 0.05
    (10, 1.052)
    """
    from gecko_jax import keys  # it loads JAX, which most metrics do not need

    check_claim(delta, confidence, assumption)
    scores, member = scored_pairs(scores, member)
    m = len(member)
    if abs(member.sum() - m / 2) > 3.5 * np.sqrt(m):  # Hoeffding: fair coins do so once in 2e10 audits
        raise ValueError(
            f"member marks {int(member.sum())} of {m} canaries, which fair coins do not give. The bound holds for "
            "canaries that were each in with chance 1/2. Draw them so, and pass all of them, those left out too."
        )
    tried = np.atleast_1d(np.asarray(guesses))
    checks.not_empty("guesses", checks.shape("guesses", tried, (None,)))
    each = 1 - (1 - confidence) / len(tried)
    # A stable order would put members first among equals if they come first in the array.
    order = keys.generator(seed, "one-run ties").permutation(m)
    order = order[np.argsort(scores[order], kind="stable")]
    bounds = []
    for r in (checks.integer("guesses", one, 1) for one in tried):
        checks.in_range("guesses", r, 1, m)
        right = int(member[order[m - (r - r // 2) :]].sum() + (~member[order[: r // 2]]).sum())
        bounds.append((one_run_epsilon(right, r, m, delta, each, assumption), r, right))
    value, r, right = max(bounds, key=lambda bound: bound[0])
    k = len(tried)
    choice = "fixed beforehand" if k == 1 else f"best of {k} fixed beforehand, each with 1/{k} of the error"
    return OneRunBound(Estimate(value, n=m), r, right, choice)
