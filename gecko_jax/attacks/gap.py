"""The gap attack: one bit, whether the model is right."""

from __future__ import annotations

from gecko_jax.attacks.attack import Attack


def gap() -> Attack:
    """Score 1 where the prediction is right (Yeom et al. 2018, adversary 1): the baseline that any attack must beat.

    At a threshold of 1/2 its balanced accuracy is 1/2 + (train accuracy - test accuracy) / 2. It reads labels only,
    and so no masking of confidences hides it.
    """
    return Attack("gap", "correct", lambda signals: signals.target)
