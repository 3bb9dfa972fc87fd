"""Attacks made of attacks, and ensembles that attack themselves."""

from __future__ import annotations

import dataclasses

import numpy as np

from gecko_jax import checks
from gecko_jax.attacks.attack import Attack
from gecko_jax.types import Array, Signals

AUGMENTED = "_augmented"


def per_class(attack: Attack) -> Attack:
    """The same scores, with a threshold chosen for each class apart (Song and Mittal 2021, sec. 4.1).

    One that has such thresholds already is returned as it is.

    >>> from gecko_jax import attacks
    >>> per_class(attacks.loss()).name
    'loss_per_class'
    """
    return attack if attack.per_class else dataclasses.replace(attack, name=f"{attack.name}_per_class", per_class=True)


def augment(attack: Attack) -> Attack:
    """The same attack on several queries a record, the record and copies of it: score = mean over queries.

    It takes several queries as every attack does, a sequence of Signals of the same records in one order, and averages
    as `Attack` does, standardising none; under a name of its own, so that a report tells it from the attack on the
    record alone. Of one Signals its scores are the attack's own.

    Args:
      attack: any, `loss` or `rmia` as well as `lira`. One that is augmented already is returned as it is.

    Source: Carlini et al. (2022), who ask LiRA about several copies of a record; other attacks by analogy.

    >>> from gecko_jax import attacks
    >>> plain, moved = (Signals(np.zeros((0, 2)), np.zeros((0, 2), bool), loss) for loss in ([1.0, 3.0], [2.0, 8.0]))
    >>> augment(attacks.loss())([plain, moved]).tolist()
    [-1.5, -5.5]
    """
    if attack.name.endswith(AUGMENTED):
        return attack
    return dataclasses.replace(attack, name=attack.name + AUGMENTED)


def leave_one_out(attack: Attack, values: Array, member: Array) -> np.ndarray:
    """Scores [m, n] of m models, each a target in turn with the others as its shadows: m attacks for m trainings.

    Draw members by independent coins. Of a balanced design, in which every record is in half of the models, the others
    tell a target's members, which moves the figures of attacks that read them. Either way: LiRA's fall, below an AUC of
    1/2 where nothing leaks (.473 measured; Student's .460, each record's own variance .443), while where something
    leaks those of RMIA and BASE rise above an independent target's (.769 for .747; .756 for .736). Never pool the
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
