"""Attack-P: the target's loss on a record, ranked among its losses on other records that it has not seen."""

from __future__ import annotations

import numpy as np

from gecko_jax.attacks.attack import Attack, checked_population
from gecko_jax.types import Signals


def population_rank(population: Signals | None = None) -> Attack:
    """Score: share of a population whose loss is larger, equals counted half.

    It ranks records as the loss does, and ties those that fall between the same two of the population; what it adds is
    a threshold without shadows: "score >= 1 - fpr" has that rate of false positives.

    Args:
      population: Signals of records that neither the target nor a shadow was trained on, of which the target's own
        losses [z] alone are read (its shadows may be none); where None, the shadows' losses on the records that each
        of them has not seen stand in.

    Raises:
      ValueError: a population that is empty, misshapen, or holds NaN or a shadow's member.

    Source: Ye et al., "Enhanced Membership Inference Attacks against Machine Learning Models" (2022), Attack-P.
    """
    given = None if population is None else np.sort(checked_population(population, "loss").target)

    def score(signals: Signals) -> np.ndarray:
        losses = np.sort(signals.values[~signals.member]) if given is None else given
        below, up_to = (np.searchsorted(losses, signals.target, which) for which in ("left", "right"))
        return 1.0 - (below + up_to) / (2.0 * max(len(losses), 1))

    return Attack("population_rank", "loss", score, shadows=0 if population is not None else 1)
