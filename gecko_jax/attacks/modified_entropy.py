"""The modified-entropy attack: entropy that knows the label."""

from __future__ import annotations

from gecko_jax import signals
from gecko_jax.attacks.attack import Attack


def modified_entropy() -> Attack:
    """Scores -Mentr(p, y), with a threshold for each class.

    The thresholds act on the attack accuracy alone; AUC and TPR rank the scores of all classes together.

    Source: Song and Mittal, "Systematic Evaluation of Privacy Risks of Machine Learning Models" (2021), eq. 8 and 9.

    >>> modified_entropy().per_class
    True
    """
    return Attack("modified_entropy", signals.modified_entropy, lambda read: -read.target, per_class=True)
