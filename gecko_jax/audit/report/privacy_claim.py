"""A privacy claim beside an empirical lower bound on epsilon.

Each audited record is a canary of one training run: it was in by a fair coin, and the attack guesses which (Steinke,
Nasr and Jagielski 2023). The attack and the number of guesses are fixed before any score is seen. For a fixed split
(the first 500 rows are the members) the bound would mean nothing, and there is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from gecko_jax import checks, metrics
from gecko_jax.privacy import Epsilon
from gecko_jax.types import Array, Estimate

# The first of these that ran is compared with a claim.
PREFERRED = ("lira_student", "lira", "rmia", "base", "reference_ratio", "loss")
GUESSED_SHARES = (0.02, 0.1, 0.5)  # of the records; the error is divided among them
CONFIDENCE = 0.95
MAX_P_VALUE = 1e-6  # of fair coins, below which members are a fixed split


class PrivacyClaim(NamedTuple):
    """What a caller says of the targets' privacy.

    Attributes:
      epsilon: the guarantee that each target is said to have, or None.
      coins: whether fair coins drew the members; None if nobody says: then it is judged by what can be seen.
    """

    epsilon: Epsilon | None = None
    coins: bool | None = None


NO_CLAIM = PrivacyClaim()
FAIR_COINS = PrivacyClaim(coins=True)


class ClaimCheck(NamedTuple):
    """A claim beside what an attack shows.

    Attributes:
      claimed_epsilon: what the accountant says, with all that it assumes.
      empirical_lower_bound: the least epsilon that agrees with the attack's guesses, with 95 % confidence over all
        targets together; None if members were not drawn by fair coins.
      how: the attack and its guesses, in words; or the reason why a bound is absent.
    """

    claimed_epsilon: Epsilon
    empirical_lower_bound: Estimate | None
    how: str

    def lines(self) -> list[str]:
        """Returns the claim, and the bound under it, as sentences."""
        accounted = f"Accounted: {self.claimed_epsilon}."
        if self.empirical_lower_bound is None:
            return [accounted, f"Empirical lower bound: none, because {self.how}."]
        bound = f"epsilon >= {self.empirical_lower_bound.value:.3f} at the same delta"
        return [accounted, f"Empirical lower bound: {bound}, measured: {self.how}."]


class ClaimRefuted(AssertionError):
    """An attack shows a larger epsilon than was accounted for: the training differs from what was accounted for."""


def claim_attack(names: Iterable[str]) -> str:
    """Returns the attack that a claim is compared with: the strongest by reputation, whatever its figures here.

    Of several released versions a name is "attack@version"; that on all of them together comes first.

    >>> claim_attack(["gap@together", "gap@int8", "lira@together", "lira@int8"])
    'lira@together'
    """
    names = list(names)
    ranked = (name for each in PREFERRED for name in names if name.partition("@")[0] == each)
    return next(ranked, names[0])


def privacy_claim(claimed_epsilon: Epsilon | None, coins: bool | None) -> PrivacyClaim:
    """Checks a claim, and returns it.

    Raises:
      ValueError: an epsilon that is not an `Epsilon`, or that no bound can be put below; coins of another value.
    """
    checks.one_of("coins", coins, (None, True, False))
    if claimed_epsilon is None:
        return PrivacyClaim(None, coins)
    if not isinstance(claimed_epsilon, Epsilon):
        raise ValueError(
            f"claimed_epsilon={claimed_epsilon!r} is a {type(claimed_epsilon).__name__}; expected a "
            "gecko_jax.privacy.Epsilon, which names its delta and adjacency: privacy.epsilon(...), or "
            "Epsilon(8.0, 1e-5, 'add_or_remove', 'pld', ())."
        )
    if claimed_epsilon.adjacency != "add_or_remove":
        raise ValueError(
            f"claimed_epsilon has adjacency {claimed_epsilon.adjacency!r}; the bound is of one example added or "
            'removed. Account for adjacency="add_or_remove".'
        )
    return PrivacyClaim(claimed_epsilon, coins)


def evidence_of_fixed_split(member: Array, ids: Array | None = None) -> str:
    """Returns why members cannot have been drawn by fair coins, or "" if they may have been.

    Coins give about as many members as non-members, and mix the two: in the order of the records' ids, a fixed split
    has far fewer runs of either kind (Wald and Wolfowitz 1940), or, if it takes every second record, far more.

    Args:
      member: [m, n] bool.
      ids: [n], or None: then the order is not looked at.

    >>> evidence_of_fixed_split(np.arange(1000)[None] < 500, np.arange(1000))
    'in the order of their ids the records change between members and non-members 1 times, where coins give about 500'
    """
    member = np.asarray(member)
    m, n = member.shape
    counts = member.sum(1)
    if any(stats.binomtest(int(count), n).pvalue < MAX_P_VALUE / m for count in counts):
        worst = counts[np.abs(counts - n / 2).argmax()]
        return f"{worst} of {n} records are members, where coins give about {n // 2}"
    if ids is None:
        return ""
    rows = member[:, np.argsort(np.asarray(ids), kind="stable")]
    changes = (rows[:, 1:] != rows[:, :-1]).sum(1)
    expected = 2 * counts * (n - counts) / n
    deviation = np.sqrt(np.maximum(expected * (expected - 1) / max(n - 1, 1), 1e-12))
    odd = np.abs(changes - expected) > stats.norm.isf(MAX_P_VALUE / m / 2) * deviation + 1
    if not odd.any():
        return ""
    i = int(odd.argmax())
    return (
        f"in the order of their ids the records change between members and non-members {changes[i]} times, where coins "
        f"give about {round(expected[i])}"
    )


def check_claim(
    claimed_epsilon: Epsilon, attack: str, scores: Sequence[Array], member: Array, fair_coins: bool = True
) -> ClaimCheck:
    """Returns the claim beside the lower bound that an attack shows.

    Args:
      claimed_epsilon: the guarantee of one model, for one example added or removed.
      attack: its name, chosen beforehand.
      scores: of each of m targets [n].
      member: [m, n] bool, drawn by fair coins.
      fair_coins: whether the caller says so; if not, the result says that it is assumed.

    Returns:
      A ClaimCheck. Its bound has 95 % confidence: the error is shared out over targets and numbers of guesses
      (Bonferroni).

    Raises:
      ClaimRefuted: the bound is above the claim.
      ValueError: a claim about replaced examples; members that fair coins do not draw.
    """
    privacy_claim(claimed_epsilon, None)
    member = np.asarray(member)
    targets, records = member.shape
    guesses = sorted({max(1, round(share * records)) for share in GUESSED_SHARES})
    each = 1 - (1 - CONFIDENCE) / targets
    bounds = [
        metrics.one_run_epsilon_from_scores(one, row, guesses, claimed_epsilon.delta, each)
        for one, row in zip(scores, member, strict=True)
    ]
    best = max(bounds, key=lambda each: each.value)
    several = "" if targets == 1 else f", the largest of {targets} targets"
    drawn = "in by fair coins" if fair_coins else "each assumed to have been in by a fair coin (coins=True confirms it)"
    how = (
        f"{attack.replace('_', ' ')} guessed {best.correct} of {best.guesses} right, {records} records {drawn}; 95 % "
        f"confidence{several}; numbers of guesses tried: {guesses}"
    )
    bound = Estimate(float(best.value), n=records)
    if bound.value > float(claimed_epsilon):
        raise ClaimRefuted(
            f"the claim is refuted: accounted epsilon {float(claimed_epsilon):.3f}, but {how}, which takes an epsilon "
            f"of {bound.value:.3f} or more at delta {claimed_epsilon.delta:g}. Check that the noise is on the sum, "
            "that batches and steps are those accounted for, and that no example is clipped together with others."
        )
    return ClaimCheck(claimed_epsilon, bound, how)
