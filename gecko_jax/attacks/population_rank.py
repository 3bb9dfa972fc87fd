"""Attack-P: the target's loss on a record, ranked among its losses on other records that it has not seen."""

from __future__ import annotations

import numpy as np

from gecko_jax import signals
from gecko_jax.attacks.attack import Attack
from gecko_jax.attacks.direction import check_number, name_on, pointing
from gecko_jax.signals import Signal
from gecko_jax.types import Signals


def population_rank(signal: Signal = signals.loss) -> Attack:
    """Scores the share of a population whose loss is larger; equal losses count half.

    It ranks records as the loss does, and ties those that fall between the same two of the population; what it adds is
    a threshold without shadows: "score >= 1 - fpr" has that rate of false positives.

    The population is `Signals.population`, of which the target's own losses [z] alone are read; if there is none, the
    shadows' losses on the records that each of them has not seen stand in.

    Args:
      signal: one number a record that points one way; negated if it is larger for members.

    Raises:
      ValueError: another signal.

    Source: Ye et al., "Enhanced Membership Inference Attacks against Machine Learning Models" (2022), Attack-P.

    >>> none = np.zeros((0, 1)), np.zeros((0, 1), bool)
    >>> population_rank()(Signals(*none, np.array([1.0]), (np.zeros((0, 2)), np.array([0.5, 2.0])))).tolist()
    [0.5]
    """
    check_number(signal)

    def score(read: Signals) -> np.ndarray:
        values, member, target, population = pointing(read, signal, "nonmembers")
        losses = np.sort(values[~member] if population is None else population[1])
        below, up_to = (np.searchsorted(losses, target, which) for which in ("left", "right"))
        return 1.0 - (below + up_to) / (2.0 * max(len(losses), 1))

    name = name_on("population_rank", signal, signals.loss)
    return Attack(name, signal, score, shadows=1, population_suffices=True, on=population_rank)
