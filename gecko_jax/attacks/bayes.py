"""BASE: the Bayes-optimal attack on losses, its one unknown estimated from reference models."""

from __future__ import annotations

import functools

import numpy as np

from gecko_jax import signals
from gecko_jax.attacks.attack import Attack
from gecko_jax.attacks.direction import check_likelihood, in_nats, name_on
from gecko_jax.attacks.moments import bounded
from gecko_jax.attacks.references import log_mean_chance
from gecko_jax.signals import Signal
from gecko_jax.types import Signals


def base(online: bool = True, signal: Signal = signals.loss) -> Attack:
    """Scores log p(x | target) - log mean_k p(x | reference k), where p = exp(-signal).

    Args:
      online: whether references that had the record are among the k; offline they are if no other is there.
      signal: a negative log-likelihood, one number a record; or a squared error, which becomes that of a normal
        distribution.

    Raises:
      ValueError: another signal.

    Source: Lassila et al., "Practical Bayes-Optimal Membership Inference Attacks" (2025), BASE.

    >>> base().name
    'base'
    """
    name = name_on("base" if online else "base_offline", check_likelihood(signal), signals.loss)

    def score(read: Signals) -> np.ndarray:
        values, target = bounded(in_nats(read, signal))
        chosen = np.ones_like(read.member) if online else ~read.member
        return -target - log_mean_chance(values, chosen)

    return Attack(name, signal, score, shadows=1, on=functools.partial(base, online))
