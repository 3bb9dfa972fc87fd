"""The entropy attack: a model spreads its bets on what it has not seen."""

from __future__ import annotations

from gecko_jax import signals
from gecko_jax.attacks.attack import Attack


def entropy() -> Attack:
    """Scores -H(p) = sum_k p_k log p_k, without the label.

    Source: Salem et al., "ML-Leaks" (2019), adversary 3.

    >>> entropy().needs
    ()
    """
    return Attack("entropy", signals.entropy, lambda read: -read.target)
