"""The loss attack: training makes the loss of its own records small."""

from __future__ import annotations

from gecko_jax import signals
from gecko_jax.attacks.attack import Attack
from gecko_jax.attacks.direction import check_number, name_on, pointing
from gecko_jax.signals import Signal


def loss(signal: Signal = signals.loss) -> Attack:
    """Scores log p_y, the negated loss; or another signal, with the sign that makes it larger for members.

    The paper's threshold is the mean training loss, which the attacker is told; here the audit chooses one on shadows.

    Args:
      signal: one number a record that points one way.

    Raises:
      ValueError: another signal.

    Source: Yeom et al., "Privacy Risk in Machine Learning" (2018), adversary 2.

    >>> loss(signals.squared_error).name
    'loss_squared_error'
    """
    check_number(signal)
    return Attack(
        name_on("loss", signal, signals.loss), signal, lambda read: pointing(read, signal, "members").target, on=loss
    )
