"""The entropy attack: a model spreads its bets on what it has not seen."""

from __future__ import annotations

from gecko_jax.attacks.attack import Attack


def entropy() -> Attack:
    """Score -H(p) = sum_k p_k log p_k, without the label (Salem et al., "ML-Leaks", 2019, adversary 3)."""
    return Attack("entropy", "entropy", lambda signals: -signals.target)
