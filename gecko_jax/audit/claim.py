"""A privacy claim beside what attacks show: the accounted epsilon above, the empirical lower bound below.

Each audited record is a canary of one training run: it was in by a fair coin, and the attack guesses which (Steinke,
Nasr and Jagielski 2023). The attack, and how many records it guesses, are fixed before anything is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from gecko_jax import metrics
from gecko_jax.privacy import Epsilon
from gecko_jax.types import Array, Estimate

PREFERRED = ("lira_student", "lira", "rmia", "base", "loss")  # the first of these that was asked for is the judge
SHARES = (0.02, 0.1, 0.5)  # of the records, that are guessed; their chances of error are shared out
CONFIDENCE = 0.95


class Claim(NamedTuple):
    """Attributes:
    accounted: what the accountant says, with all that it assumes.
    shown: the least epsilon that agrees with what the attack found, with 95 % confidence over all targets together.
    how: the attack and its guesses, in words.
    """

    accounted: Epsilon
    shown: Estimate
    how: str

    def lines(self) -> list[str]:
        """For a reader: the claim, and the bound under it."""
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


def hold_against(accounted: Epsilon, attack: str, scores: Sequence[Array], member: Array) -> Claim:
    """The claim beside the bound.

    Args:
      accounted: the guarantee of one model, for one example added or removed.
      attack: its name, chosen beforehand.
      scores: of each of m targets [n].
      member: [m, n] bool, drawn by fair coins.

    Returns:
      A Claim. Its bound has 95 % confidence: the error is shared out over targets and numbers of guesses (Bonferroni).

    Raises:
      ClaimRefuted: the bound is above the claim.
      ValueError: a claim about replaced examples; members that fair coins do not draw.
    """
    if accounted.adjacency != "add_or_remove":
        raise ValueError(
            f"epsilon has adjacency {accounted.adjacency!r}; the bound is of one example added or removed. Account for "
            'adjacency="add_or_remove".'
        )
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
    how = (
        f"{attack.replace('_', ' ')} guessed {best.correct} of {best.guesses} right, {records} records in by fair "
        f"coins; 95 % confidence{several}, for the numbers of guesses {guesses}"
    )
    shown = Estimate(float(best.value), n=records)
    if shown.value > float(accounted):
        raise ClaimRefuted(
            f"the claim is refuted: accounted epsilon {float(accounted):.3f}, but {how}, which takes an epsilon of "
            f"{shown.value:.3f} or more at delta {accounted.delta:g}. Check that the noise is on the sum, that batches "
            "and steps are those accounted for, and that no example is clipped together with others."
        )
    return Claim(accounted, shown, how)
