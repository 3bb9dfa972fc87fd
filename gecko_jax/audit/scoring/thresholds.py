"""Where "member" begins: thresholds that never see the records they are judged on.

On shadows: each of them, sixteen at most, stands in for the target: its own members are the truth, the others its
shadows. The threshold of the best balanced accuracy over the pooled (score, member) pairs is then applied to the
target, whose members are not an argument. Pooling is for choosing alone: no figure is ever read off scores of several
models. Without shadows a threshold is fitted on one half of the target's records and judged on the other, and the
halves are swapped. The exception is an attacker who is told a figure of the target's members (`told`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gecko_jax import keys, metrics
from gecko_jax.attacks import Attack
from gecko_jax.audit.reading.ensemble_signals import EnsembleSignals
from gecko_jax.audit.scoring.selection import RANKED_BY, Choice
from gecko_jax.signals import Signal

MAX_STAND_INS = 16  # shadows that stand in for a target, in turn: of more, a choice hardly gains


def best_threshold(scores: np.ndarray, member: np.ndarray) -> float:
    """Returns the score with the best balanced accuracy when "score >= threshold" says member; the highest such score.

    Args:
      scores: [n].
      member: [n] bool, both kinds.

    >>> best_threshold(np.array([3.0, 2.0, 2.0, 1.0]), np.array([True, True, False, False]))
    3.0
    """
    fpr, tpr, thresholds = metrics.roc_curve(scores, member)
    return float(thresholds[1:][np.argmax((tpr - fpr)[1:])])  # the first point calls nobody and is not a score


def per_record(
    scores: np.ndarray, member: np.ndarray, y: np.ndarray, y_target: np.ndarray, per_class: bool
) -> np.ndarray:
    """Returns thresholds [t] of records with labels y_target [t], fitted on scores, member and y, each [n].

    One for all, or one for each class; a class that shows only members or only non-members takes the one for all.

    >>> per_record(np.array([1.0, 0.0]), np.array([True, False]), np.array([0, 0]), np.array([0, 0]), False).tolist()
    [1.0, 1.0]
    """
    thresholds = np.full(len(y_target), best_threshold(scores, member))
    for label in np.unique(y_target) if per_class else ():
        rows = y == label
        if member[rows].any() and not member[rows].all():
            thresholds[y_target == label] = best_threshold(scores[rows], member[rows])
    return thresholds


def told(attack: Attack, scores: np.ndarray, member: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns thresholds [n]: the mean score of the target's members, which the attacker is told (Yeom et al. 2018).

    One for all, or, if the attack wants one for each class, that of the class's members; of a class without members the
    one for all.
    """
    thresholds = np.full(len(scores), _mean(scores[member]))
    for label in np.unique(y) if attack.per_class else ():
        if (rows := member & (y == label)).any():
            thresholds[y == label] = _mean(scores[rows])
    return thresholds


def _mean(scores: np.ndarray) -> float:
    """Returns the mean, which rounding leaves no larger than the largest: equal scores reach their own mean."""
    return float(min(scores.mean(), scores.max()))


def on_shadows(
    choice: Choice, shadows: Mapping[Signal, EnsembleSignals], y: np.ndarray, y_target: np.ndarray
) -> tuple[Attack, np.ndarray]:
    """Returns the attack of a choice that does best on stand-ins, and thresholds [t] chosen on them.

    Args:
      choice: one attack, or several.
      shadows: each signal that the choice reads, of s >= 1 shadows on n records; no target is looked at.
      y: [n] labels of those records.
      y_target: [t] labels of the target's records.

    Returns:
      The attack, and one threshold for each of the target's records (all equal unless it wants one for each class).
    """
    truth = next(iter(shadows.values())).member[:MAX_STAND_INS]
    stand_ins = {signal: [one.stand_in(k) for k in range(len(truth))] for signal, one in shadows.items()}
    scores = [list(map(attack, stand_ins[attack.signal])) for attack in choice.attacks]
    best = 0
    if len(scores) > 1:
        metric = RANKED_BY[choice.metric]
        best = int(np.argmax([np.mean(list(map(metric, each, truth))) for each in scores]))
    attack, labels = choice.attacks[best], np.tile(y, len(truth))
    return attack, per_record(np.concatenate(scores[best]), truth.reshape(-1), labels, y_target, attack.per_class)


def split_half(attack: Attack, scores: np.ndarray, member: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns thresholds [n], each fitted on the half of the target's records that the record is not in.

    The halves have equally many members, and equally many non-members, to within one.
    """
    first = np.zeros(len(member), bool)
    for kind, rows in (("members", np.flatnonzero(member)), ("non-members", np.flatnonzero(~member))):
        first[keys.generator(0, "split half", kind).permutation(rows)[: len(rows) // 2]] = True
    thresholds = np.empty(len(member))
    for half in (first, ~first):
        thresholds[half] = per_record(scores[~half], member[~half], y[~half], y[half], attack.per_class)
    return thresholds
