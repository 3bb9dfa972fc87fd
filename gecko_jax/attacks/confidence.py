"""The confidence attack: a model is surer of what it has seen."""

from __future__ import annotations

from gecko_jax import signals
from gecko_jax.attacks.attack import Attack


def confidence() -> Attack:
    """Scores max_k p_k, without the label.

    Source: Salem et al., "ML-Leaks" (2019), adversary 3.

    >>> confidence().signal.name
    'confidence'
    """
    return Attack("confidence", signals.confidence, lambda read: read.target)
