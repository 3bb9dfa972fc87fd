"""Attacks made of attacks, and ensembles that attack themselves."""

from __future__ import annotations

import dataclasses

import numpy as np

from gecko_jax import checks
from gecko_jax.attacks.attack import Attack
from gecko_jax.types import Array, Signals


def per_class(attack: Attack) -> Attack:
    """The same scores, with a threshold chosen for each class apart (Song and Mittal 2021, sec. 4.1).

    One that has such thresholds already is returned as it is.

    >>> from gecko_jax import attacks
    >>> per_class(attacks.loss()).name
    'loss_per_class'
    """
    return attack if attack.per_class else dataclasses.replace(attack, name=f"{attack.name}_per_class", per_class=True)


def leave_one_out(attack: Attack, values: Array, member: Array) -> np.ndarray:
    """Scores [m, n] of m models, each a target in turn with the others as its shadows: m attacks for m trainings.

    Draw members by independent coins. Of a balanced design, in which every record is in half of the models, the others
    tell a target's members, and attacks that read them fall below an AUC of 1/2 where nothing leaks. Never pool the
    scores of several targets: take a figure of each row.

    Args:
      attack: works with m - 1 shadows.
      values: [m, n, ...] its signal.
      member: [m, n] bool, who was in which model's training set.

    Raises:
      ValueError: too few models for the attack, or wrong shapes.
    """
    values, member = np.asarray(values), np.asarray(member)
    checks.at_least(f"number of models for attack {attack.name!r}", len(values), attack.shadows + 1)
    checks.shape("member", member, values.shape[:2])
    others = ~np.eye(len(values), dtype=bool)
    return np.array([attack(Signals(values[rest], member[rest], values[k])) for k, rest in enumerate(others)])
