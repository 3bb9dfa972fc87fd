"""Attacks made of attacks, and ensembles that attack themselves."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from gecko_jax import checks
from gecko_jax.attacks.attack import Attack
from gecko_jax.signals import Signal
from gecko_jax.types import Array, Signals

AUGMENTED = "_augmented"


def per_class(attack: Attack) -> Attack:
    """Returns the attack with a threshold chosen for each class apart; its scores are the same.

    Args:
      attack: any attack; one that has such thresholds already is returned as it is.

    Source: Song and Mittal, "Systematic Evaluation of Privacy Risks of Machine Learning Models" (2021), sec. 4.1.

    >>> from gecko_jax import attacks
    >>> per_class(attacks.loss()).name
    'loss_per_class'
    """
    if attack.per_class:
        return attack
    on = _on(attack, per_class)
    return dataclasses.replace(attack, name=f"{attack.name}_per_class", per_class=True, on=on)


def augment(attack: Attack) -> Attack:
    """Returns the attack on several queries a record, the record and copies of it: its score is the mean over queries.

    It takes several queries as every attack does, a sequence of Signals of the same records in one order, and averages
    as `Attack` does, without standardizing; under a name of its own, so a report tells it from the attack on the record
    alone. On one Signals its scores are the attack's own.

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
    return dataclasses.replace(attack, name=attack.name + AUGMENTED, on=_on(attack, augment))


def _on(attack: Attack, combine: Callable[[Attack], Attack]) -> Callable[[Signal], Attack] | None:
    """Returns `Attack.on` of the combined attack: the combination of the attack on another signal."""
    on = attack.on
    return None if on is None else lambda signal: combine(on(signal))


def stand_in(values: np.ndarray, member: np.ndarray, k: int, population: np.ndarray | None = None) -> Signals:
    """Returns what an attack on model k reads: that model is the target, and the others are its shadows.

    Args:
      values: [m, n, ...] a signal of m models on n records.
      member: [m, n] bool, who was in which model's training set.
      k: the model that stands in as the target; its row of `member` is not in the result.
      population: [m, z, ...] the same signal on records that no model was trained on, or None.

    >>> stand_in(np.array([[1.0], [2.0], [3.0]]), np.zeros((3, 1), bool), 1).values.tolist()
    [[1.0], [3.0]]
    """
    others = np.arange(len(member)) != k
    unseen = None if population is None else (population[others], population[k])
    return Signals(values[others], member[others], values[k], unseen)


def leave_one_out(attack: Attack, values: Array, member: Array, population: Array | None = None) -> np.ndarray:
    """Scores m models, each a target in turn with the others as its shadows: m attacks for m trainings.

    Draw members by independent coins. In a balanced design, in which every record is in half of the models, the others
    tell a target's members, which moves the figures of attacks that read them. Either way: LiRA's fall, below an AUC of
    1/2 if nothing leaks (.473 measured; Student's .460, each record's own variance .443), while those of RMIA and BASE
    rise above an independent target's if something does (.769 for .747; .756 for .736). Never pool the scores of
    several targets: take a figure of each row.

    Args:
      attack: works with m - 1 shadows.
      values: [m, n, ...] its signal.
      member: [m, n] bool, who was in which model's training set.
      population: [m, z, ...] its signal on records that no model was trained on, or None.

    Returns:
      Scores [m, n].

    Raises:
      ValueError: too few models for the attack, or wrong shapes.

    >>> from gecko_jax import attacks
    >>> leave_one_out(attacks.loss(), np.array([[1.0, 2.0], [3.0, 4.0]]), np.eye(2, dtype=bool)).tolist()
    [[-1.0, -2.0], [-3.0, -4.0]]
    """
    values, member = np.asarray(values), np.asarray(member)
    unseen = None if population is None else np.asarray(population)
    checks.at_least(f"number of models for attack {attack.name!r}", len(values), attack.shadows + 1)
    checks.shape("member", member, values.shape[:2])
    return np.array([attack(stand_in(values, member, k, unseen)) for k in range(len(values))])
