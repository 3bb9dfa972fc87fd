"""BASE: the Bayes-optimal attack on losses, its one unknown estimated from reference models."""

from __future__ import annotations

import numpy as np

from gecko_jax.attacks.attack import Attack
from gecko_jax.attacks.moments import bounded
from gecko_jax.attacks.references import log_mean_chance
from gecko_jax.types import Signals


def base(online: bool = True) -> Attack:
    """Score log p(x | target) - log mean_k p(x | reference k).

    Args:
      online: whether references that had the record are among the k.

    Source: Lassila et al., "Practical Bayes-Optimal Membership Inference Attacks" (2025), BASE.

    >>> base().name
    'base'
    """

    def score(signals: Signals) -> np.ndarray:
        values, target = bounded(signals)
        chosen = np.ones_like(signals.member) if online else ~signals.member
        return -target - log_mean_chance(values, chosen)

    return Attack("base" if online else "base_offline", "loss", score, shadows=1)
