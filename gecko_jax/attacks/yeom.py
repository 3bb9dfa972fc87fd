"""Yeom's adversary with its own threshold: a record whose loss is at most the mean training loss is a member."""

from __future__ import annotations

import dataclasses

from gecko_jax import signals
from gecko_jax.attacks.attack import Attack
from gecko_jax.attacks.direction import name_on
from gecko_jax.attacks.loss import loss
from gecko_jax.signals import Signal


def yeom(signal: Signal = signals.loss) -> Attack:
    """Scores the negated loss, with the threshold of the paper: the mean training loss, which the attacker is told.

    The scores, and so AUC and TPRs, are those of `loss`. The attack accuracy is another: an audit does not choose the
    threshold, but takes the mean score of the target's own members. That is knowledge which other attacks do not have,
    and which many publish.

    Args:
      signal: one number a record that points one way.

    Raises:
      ValueError: another signal.

    Source: Yeom et al., "Privacy Risk in Machine Learning" (2018), adversary 2.

    >>> yeom().told_threshold, loss().told_threshold
    (True, False)
    """
    attack = loss(signal)
    return dataclasses.replace(attack, name=name_on("yeom", signal, signals.loss), told_threshold=True, on=yeom)
