"""Difficulty calibration: a small loss suggests a member only if other models' loss is larger."""

from __future__ import annotations

import numpy as np

from gecko_jax import signals
from gecko_jax.attacks.attack import Attack
from gecko_jax.attacks.direction import check_number, name_on, pointing
from gecko_jax.attacks.moments import bounded
from gecko_jax.attacks.references import mean_over
from gecko_jax.signals import Signal
from gecko_jax.types import Signals


def calibrated_loss(signal: Signal = signals.loss) -> Attack:
    """Scores (mean loss of references without the record) - loss.

    Args:
      signal: one number a record that points one way; negated if it is larger for members.

    Raises:
      ValueError: another signal.

    Source: Watson et al., "On the Importance of Difficulty Calibration in Membership Inference Attacks" (2022), eq. 5.

    >>> read = Signals(np.array([[3.0], [9.0]]), np.array([[False], [True]]), np.array([1.0]))
    >>> calibrated_loss()(read).tolist()
    [2.0]
    """
    check_number(signal)

    def score(read: Signals) -> np.ndarray:
        values, target = bounded(pointing(read, signal, "nonmembers"))
        return mean_over(values, ~read.member) - target

    name = name_on("calibrated_loss", signal, signals.loss)
    return Attack(name, signal, score, shadows=1, on=calibrated_loss)
