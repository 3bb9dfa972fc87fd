"""Difficulty calibration: a small loss tells of a member only where other models' loss is not as small."""

from __future__ import annotations

import numpy as np

from gecko_jax.attacks.attack import Attack
from gecko_jax.attacks.moments import bounded
from gecko_jax.attacks.references import mean_over
from gecko_jax.types import Signals


def calibrated_loss() -> Attack:
    """Score (mean loss of references without the record) - loss.

    Source: Watson et al., "On the Importance of Difficulty Calibration in Membership Inference Attacks" (2022), eq. 5.
    """

    def score(signals: Signals) -> np.ndarray:
        values, target = bounded(signals)
        return mean_over(values, ~signals.member) - target

    return Attack("calibrated_loss", "loss", score, shadows=1)
