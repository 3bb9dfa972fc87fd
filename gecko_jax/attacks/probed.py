"""Attacks on one number that only the model itself can tell, larger for members: no shadows, no training.

For two of them labels suffice, so masking confidences does not hide what they show; the third needs the parameters.
"""

from __future__ import annotations

from gecko_jax import signals
from gecko_jax.attacks.attack import Attack


def label_only() -> Attack:
    """Scores the share of moved copies (translations, noise) that are still given the true label.

    Source: Choquette-Choo et al., "Label-Only Membership Inference Attacks" (2021), sec. 4.1 and 4.2.

    >>> label_only().needs
    ('queries',)
    """
    return Attack("label_only", signals.label_robustness, lambda read: read.target)


def boundary() -> Attack:
    """Scores the L2 distance to the decision boundary, 0 for a misclassified record.

    Source: Choquette-Choo et al., "Label-Only Membership Inference Attacks" (2021), sec. 4.3; Li and Zhang,
    "Membership Leakage in Label-Only Exposures" (2021).

    >>> boundary().needs
    ('queries', 'time')
    """
    return Attack("boundary", signals.boundary_distance, lambda read: read.target, slow=True)


def small_gradient() -> Attack:
    """Scores minus the norm of the gradient of the record's loss.

    Source: Nasr, Shokri and Houmansadr, "Comprehensive Privacy Analysis of Deep Learning" (2019).

    >>> small_gradient().needs
    ('gradients',)
    """
    return Attack("small_gradient", signals.small_gradient, lambda read: read.target)
