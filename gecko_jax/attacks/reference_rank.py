"""Attack-R: the target's loss on a record, ranked among that record's losses under models that had not seen it."""

from __future__ import annotations

import numpy as np

from gecko_jax import signals
from gecko_jax.attacks.attack import Attack
from gecko_jax.attacks.direction import check_number, name_on, pointing
from gecko_jax.attacks.references import mean_over
from gecko_jax.signals import Signal
from gecko_jax.types import Signals


def reference_rank(signal: Signal = signals.loss) -> Attack:
    """Scores the share of references without the record whose loss is larger; equal losses count half.

    Under a null of one more such reference the score is a p-value's complement, by record; of K references it takes
    2 K + 1 values, and ties accordingly.

    Args:
      signal: one number a record that points one way; negated if it is larger for members.

    Raises:
      ValueError: another signal.

    Source: Ye et al., "Enhanced Membership Inference Attacks against Machine Learning Models" (2022), Attack-R.

    >>> read = Signals(np.array([[3.0], [0.5]]), np.zeros((2, 1), bool), np.array([1.0]))
    >>> reference_rank()(read).tolist()
    [0.5]
    """
    check_number(signal)

    def score(read: Signals) -> np.ndarray:
        values, member, target, _ = pointing(read, signal, "nonmembers")
        above = np.where(values == target[None], 0.5, values > target[None])
        return mean_over(above, ~member)

    name = name_on("reference_rank", signal, signals.loss)
    return Attack(name, signal, score, shadows=1, on=reference_rank)
