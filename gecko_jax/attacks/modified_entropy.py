"""The modified-entropy attack: entropy that knows the label."""

from __future__ import annotations

from gecko_jax.attacks.attack import Attack


def modified_entropy() -> Attack:
    """Score -Mentr(p, y), with a threshold for each class (Song and Mittal, "Systematic Evaluation of Privacy Risks of
    Machine Learning Models", 2021, eq. 8 and 9).

    The thresholds act on the attack accuracy alone; AUC and TPR rank the scores of all classes together.
    """
    return Attack("modified_entropy", "modified_entropy", lambda signals: -signals.target, per_class=True)
