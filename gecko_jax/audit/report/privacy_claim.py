"""A privacy claim beside what attacks show: the accounted epsilon above, the empirical lower bound below.

Each audited record is a canary of one training run: it was in by a fair coin, and the attack guesses which (Steinke,
Nasr and Jagielski 2023). The attack, and how many records it guesses, are fixed before anything is looked at. Of a
fixed split (the first 500 rows are the members) the bound would say nothing, and none is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from gecko_jax import checks, metrics
from gecko_jax.privacy import Epsilon
from gecko_jax.types import Array, Estimate

PREFERRED = ("lira_student", "lira", "rmia", "base", "loss")  # the first of these that was asked for is the judge
SHARES = (0.02, 0.1, 0.5)  # of the records, that are guessed; their chances of error are shared out
CONFIDENCE = 0.95
CHANCE = 1e-6  # of taking members that fair coins drew for a fixed split


class Claim(NamedTuple):
    """Attributes:
    accounted: what the accountant says, with all that it assumes.
    shown: the least epsilon that agrees with what the attack found, with 95 % confidence over all targets together; or
      None, if members were not drawn by fair coins.
    how: the attack and its guesses, in words; or why nothing is shown.
    """

    accounted: Epsilon
    shown: Estimate | None
    how: str

    def lines(self) -> list[str]:
        """For a reader: the claim, and the bound under it."""
        if self.shown is None:
            return [f"Accounted: {self.accounted}.", f"Shown: nothing about epsilon, because {self.how}."]
        return [
            f"Accounted: {self.accounted}.",
            f"Shown: epsilon >= {self.shown.value:.3f} at the same delta, measured: {self.how}.",
        ]


class ClaimRefuted(AssertionError):
    """An attack shows a larger epsilon than was accounted for: the training is not what the accountant was told."""


def judge(names: Iterable[str]) -> str:
    """The attack that a claim is held against: the strongest by reputation, whatever it finds here."""
    names = list(names)
    return next((each for each in PREFERRED if each in names), names[0])


def check_claim(epsilon: Epsilon | None) -> None:
    """Raises ValueError unless epsilon is None or an `Epsilon` that a bound can be put below."""
    if epsilon is None:
        return
    if not isinstance(epsilon, Epsilon):
        raise ValueError(
            f"epsilon={epsilon!r} is a {type(epsilon).__name__}; expected a gecko_jax.privacy.Epsilon, which names its "
            "delta and adjacency: privacy.epsilon(...), or Epsilon(8.0, 1e-5, 'add_or_remove', 'pld', ())."
        )
    if epsilon.adjacency != "add_or_remove":
        raise ValueError(
            f"epsilon has adjacency {epsilon.adjacency!r}; the bound is of one example added or removed. Account for "
            'adjacency="add_or_remove".'
        )


def check_coins(coins: bool | None) -> None:
    """Raises ValueError unless `coins` is True, False or None."""
    checks.one_of("coins", coins, (None, True, False))


def coins_doubt(member: Array, ids: Array | None = None) -> str:
    """Why members cannot have been drawn by fair coins, or "" if they may have been.

    Coins give about as many members as non-members, and mix the two: in the order of the records' ids, a fixed split
    has far fewer runs of either kind (Wald and Wolfowitz 1940), or, if it takes every second record, far more.

    Args:
      member: [m, n] bool.
      ids: [n], or None: then the order is not looked at.

    >>> coins_doubt(np.arange(1000)[None] < 500, np.arange(1000))
    'in the order of their ids the records change between members and non-members 1 times, where coins give about 500'
    """
    member = np.asarray(member)
    m, n = member.shape
    counts = member.sum(1)
    if any(stats.binomtest(int(count), n).pvalue < CHANCE / m for count in counts):
        worst = counts[np.abs(counts - n / 2).argmax()]
        return f"{worst} of {n} records are members, where coins give about {n // 2}"
    if ids is None:
        return ""
    rows = member[:, np.argsort(np.asarray(ids), kind="stable")]
    changes = (rows[:, 1:] != rows[:, :-1]).sum(1)
    expected = 2 * counts * (n - counts) / n
    deviation = np.sqrt(np.maximum(expected * (expected - 1) / max(n - 1, 1), 1e-12))
    odd = np.abs(changes - expected) > stats.norm.isf(CHANCE / m / 2) * deviation + 1
    if not odd.any():
        return ""
    i = int(odd.argmax())
    return (
        f"in the order of their ids the records change between members and non-members {changes[i]} times, where coins "
        f"give about {round(expected[i])}"
    )


def hold_against(
    accounted: Epsilon, attack: str, scores: Sequence[Array], member: Array, vouched: bool = True
) -> Claim:
    """The claim beside the bound.

    Args:
      accounted: the guarantee of one model, for one example added or removed.
      attack: its name, chosen beforehand.
      scores: of each of m targets [n].
      member: [m, n] bool, drawn by fair coins.
      vouched: whether the caller says so; else the bound says that it takes it for granted.

    Returns:
      A Claim. Its bound has 95 % confidence: the error is shared out over targets and numbers of guesses (Bonferroni).

    Raises:
      ClaimRefuted: the bound is above the claim.
      ValueError: a claim about replaced examples; members that fair coins do not draw.
    """
    check_claim(accounted)
    member = np.asarray(member)
    targets, records = member.shape
    guesses = sorted({max(1, round(share * records)) for share in SHARES})
    each = 1 - (1 - CONFIDENCE) / targets
    found = [
        metrics.one_run_epsilon_from_scores(one, row, guesses, accounted.delta, each)
        for one, row in zip(scores, member, strict=True)
    ]
    best = max(found, key=lambda bound: bound.value)
    several = "" if targets == 1 else f", the largest of {targets} targets"
    drawn = "in by fair coins" if vouched else "each taken to have been in by a fair coin (coins=True vouches for it)"
    how = (
        f"{attack.replace('_', ' ')} guessed {best.correct} of {best.guesses} right, {records} records {drawn}; 95 % "
        f"confidence{several}, for the numbers of guesses {guesses}"
    )
    shown = Estimate(float(best.value), n=records)
    if shown.value > float(accounted):
        raise ClaimRefuted(
            f"the claim is refuted: accounted epsilon {float(accounted):.3f}, but {how}, which takes an epsilon of "
            f"{shown.value:.3f} or more at delta {accounted.delta:g}. Check that the noise is on the sum, that batches "
            "and steps are those accounted for, and that no example is clipped together with others."
        )
    return Claim(accounted, shown, how)
