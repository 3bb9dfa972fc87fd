"""What an attribute inference found: how often a trait of authors is guessed right."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gecko_jax.types import Estimate


class AttributeInference(NamedTuple):
    """How well a trait is guessed from features.

    Attributes:
      accuracy: share of rows whose trait is guessed right by a probe that was fitted on other groups; the interval is
        over groups.
      majority: the same of one guess for all, the most frequent value.
      advantage: accuracy - majority, row by row, with an interval over groups. Above 0: the features tell the trait.
      group_accuracy: share of groups whose trait is guessed right from all of their rows together, with its
        Clopper-Pearson interval; None if rows of one group differ in the trait.
      group_majority: the same of one guess for all, the most frequent value among groups.
      values: the trait's values, in order.
      groups: names [G] of the groups, in order.
      rows: int64 [G], rows of each group.
      right: float64 [G], rows of each group that are guessed right.
    """

    accuracy: Estimate
    majority: Estimate
    advantage: Estimate
    group_accuracy: Estimate | None
    group_majority: Estimate | None
    values: np.ndarray
    groups: np.ndarray
    rows: np.ndarray
    right: np.ndarray

    def __str__(self) -> str:
        low, high = self.advantage.low, self.advantage.high
        told = "no interval, of one group" if low is None or high is None else f"{low:+.3f} to {high:+.3f}"
        verdict = "the features tell it" if low is not None and low > 0 else "not shown to be better than that"
        lines = [
            f"{len(self.values)} values, {self.rows.sum()} rows of {len(self.groups)} groups",
            f"rows guessed right    {_text(self.accuracy)}; the most frequent value {self.majority.value:.3f}",
            f"advantage             {self.advantage.value:+.3f} [{told}]: {verdict}",
        ]
        if self.group_accuracy is not None and self.group_majority is not None:
            most = f"the most frequent value {self.group_majority.value:.3f}"
            lines.append(f"groups guessed right  {_text(self.group_accuracy)}; {most}")
        return "\n".join(lines)


def _text(estimate: Estimate) -> str:
    interval = "" if estimate.low is None or estimate.high is None else f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return f"{estimate.value:.3f}{interval}"
