"""Attacks on one number that a probe finds, larger = more likely a member, and nothing else: no shadows, no training.

Labels alone suffice for two of them, so that no masking of confidences hides what they show; the third needs the
parameters.
"""

from __future__ import annotations

from gecko_jax.attacks.attack import Attack


def label_only() -> Attack:
    """Score: the share of moved copies (shifts, turns, noise) that are still given the true label.

    Source: Choquette-Choo et al., "Label-Only Membership Inference Attacks" (2021), sec. 4.1 and 4.2.
    """
    return Attack("label_only", "label_robustness", lambda signals: signals.target)


def boundary() -> Attack:
    """Score: the L2 distance to the decision boundary, 0 for a misclassified record.

    Source: Choquette-Choo et al., "Label-Only Membership Inference Attacks" (2021), sec. 4.3; Li and Zhang,
    "Membership Leakage in Label-Only Exposures" (2021).
    """
    return Attack("boundary", "boundary_distance", lambda signals: signals.target, slow=True)


def small_gradient() -> Attack:
    """Score: minus the norm of the gradient of the record's loss.

    Source: Nasr, Shokri and Houmansadr, "Comprehensive Privacy Analysis of Deep Learning" (2019).

    >>> small_gradient().shadows
    0
    """
    return Attack("small_gradient", "small_gradient", lambda signals: signals.target)
