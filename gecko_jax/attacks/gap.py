"""The gap attack: one bit, whether the model is right."""

from __future__ import annotations

from gecko_jax import signals
from gecko_jax.attacks.attack import Attack


def gap() -> Attack:
    """Scores 1 if the prediction is right, else 0: the baseline that any attack must beat.

    At a threshold of 1/2 its balanced accuracy is 1/2 + (train accuracy - test accuracy) / 2. It reads labels only, so
    masking confidences does not hide it.

    Source: Yeom et al., "Privacy Risk in Machine Learning" (2018), adversary 1.

    >>> gap().signal.outputs
    'labels'
    """
    return Attack("gap", signals.correct, lambda read: read.target)
