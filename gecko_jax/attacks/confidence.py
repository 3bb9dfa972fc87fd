"""The confidence attack: a model is surer of what it has seen."""

from __future__ import annotations

from gecko_jax.attacks.attack import Attack


def confidence() -> Attack:
    """Score max_k p_k, without the label (Salem et al., "ML-Leaks", 2019, adversary 3).

    >>> confidence().signal
    'confidence'
    """
    return Attack("confidence", "confidence", lambda signals: signals.target)
