"""The loss attack: training makes the loss of its own records small."""

from __future__ import annotations

from gecko_jax.attacks.attack import Attack


def loss() -> Attack:
    """Score log p_y, the negated loss (Yeom et al., "Privacy Risk in Machine Learning", 2018, adversary 2).

    The paper's threshold is the mean training loss, which the attacker is told; here the audit chooses one on shadows.
    """
    return Attack("loss", "loss", lambda signals: -signals.target)
