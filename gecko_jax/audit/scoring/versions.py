"""Attacks on several released versions of one model: on each alone, and on all of them together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

from gecko_jax.attacks import ATTACKS, Attack, stand_in
from gecko_jax.audit.reading.readings import Readings
from gecko_jax.audit.scoring.attack_plan import AttackPlan, left_out
from gecko_jax.audit.scoring.selection import ALL, Choice
from gecko_jax.signals import Signal
from gecko_jax.types import Array, Model, Signals

AT = "@"  # between an attack, or a signal, and the version that it reads
TOGETHER = "together"
# Of the listed attacks, those that run unasked: every one has a row for each version.
USUAL = ("gap", "loss", "modified_entropy", "rmia", "lira_student", "hierarchical_lira")
MAX_STAND_INS = 3  # shadows on which the versions' weights are fitted: thousands of records for a few numbers
STEPS, RIDGE = 20, 1e-3  # of the logistic regression: Newton's steps, and what keeps weights of equal scores finite


def usual_attacks(attacks: Any, shadows: int) -> Any:
    """Returns what to run on each version: `attacks`, or the usual ones that the number of shadows allows."""
    if attacks is None:
        return [name for name in USUAL if ATTACKS[name]().shadows <= max(shadows - 1, 0)]
    if isinstance(attacks, str) and attacks == ALL:
        raise ValueError('attacks="all" would have a row for each version and attack; name the attacks to run.')
    return attacks


def check_versions(name: str, versions: Mapping[str, object]) -> tuple[str, ...]:
    """Returns the names of two versions or more, which may not read as an attack on another version."""
    if not isinstance(versions, Mapping):
        raise ValueError(f"{name} is a {type(versions).__name__}; expected a dict, {{'float': ..., 'int8': ...}}.")
    if len(versions) < 2:
        raise ValueError(f"{name} holds {len(versions)} version; expected two or more. Audit the one alone.")
    for each in versions:
        if not isinstance(each, str) or not each or AT in each or each == TOGETHER:
            raise ValueError(f"{name} names a version {each!r}; expected text without {AT!r}, and not {TOGETHER!r}.")
    return tuple(versions)


def plan_versions(plan: AttackPlan, versions: Sequence[str]) -> AttackPlan:
    """Returns a plan with each attack on each version, and on all together.

    Together an attack's score is the weighted sum of those on the versions. The weights are those of a logistic
    regression of membership on the scores of shadows, each a stand-in for the target; of too few shadows for that, or
    without any shadow, they are equal. Their absolute values add up to 1.

    Args:
      plan: attacks on one model.
      versions: their names.

    Raises:
      ValueError: by name, an attack that reads more than outputs, or the best of several.
    """
    of_first = f"Accuracy, confidences and the loss tail are those of version {versions[0]!r}."
    choices, notes = [], [*plan.notes, of_first]
    for choice in plan.choices:
        (attack, *others) = choice.attacks
        why = "it is the best of several attacks; name one" if others else ""
        why = why or (f"it reads {attack.signal.name!r}, which needs more than outputs" if attack.signal.needs else "")
        if why and plan.by_name:
            raise ValueError(f"attack {choice.name!r} does not run on several versions: {why}.")
        if why:
            notes.append(left_out(choice.name, why))
            continue
        named = dataclasses.replace(attack, name=choice.name)
        every = [_together(named), *(_on_version(named, version) for version in versions)]
        choices += [Choice(each.name, (each,)) for each in every]
    return plan._replace(choices=choices, notes=notes)


def version_readings(readings: Mapping[str, Readings], y: Array | None, signals: Sequence[Signal]) -> Readings:
    """Returns readings of all versions as one: values of each version's signals, and of all together.

    Args:
      readings: version -> its outputs [..., n, c] on the same records, by the same models.
      y: labels [n].
      signals: functions of outputs, which attacks on one model read.
    """
    values, listed = {}, []
    for signal in signals:
        each = {version: one.signal(signal, y)[0] for version, one in readings.items()}
        values |= {_name(signal, version): array for version, array in each.items()}
        values[_name(signal, TOGETHER)] = np.stack(list(each.values()), -1 - len(signal.axes))
        listed += [_renamed(signal, version) for version in each] + [_stacked(signal)]
    first = next(iter(readings.values()))
    return Readings(first.outputs, (), values, tuple(listed), first.kind)


def split(readings: Readings, versions: Sequence[str]) -> dict[str, Readings]:
    """Returns version -> its outputs, of readings that hold those of further versions as queries."""
    outputs = (readings.outputs, *readings.queries)
    return {name: Readings(each, kind=readings.kind) for name, each in zip(versions, outputs, strict=True)}


def signals_of(plan: AttackPlan) -> list[Signal]:
    """Returns the functions of outputs that a plan for one model reads, in the order of their names."""
    signals = {one.name: one for one in plan.signals if not one.needs}
    return [signals[name] for name in sorted(signals)]


def _name(signal: Signal, version: str) -> str:
    return f"{signal.name}{AT}{version}"


def _renamed(signal: Signal, version: str) -> Signal:
    """Returns the signal of one version; its values are read beforehand."""
    return dataclasses.replace(signal, name=_name(signal, version), read=None, stands_for=())


def _stacked(signal: Signal) -> Signal:
    return dataclasses.replace(_renamed(signal, TOGETHER), axes=("version", *signal.axes))


def _on_version(attack: Attack, version: str) -> Attack:
    signal = _renamed(attack.signal, version)
    return dataclasses.replace(attack, name=f"{attack.name}{AT}{version}", signal=signal, on=None)


def _together(attack: Attack) -> Attack:
    """Returns the attack on all versions: a weighted sum of its scores on each."""

    def each(read: Signals) -> np.ndarray:
        parts = []
        for i in range(read.target.shape[1]):
            unseen = read.population and (read.population[0][:, :, i], read.population[1][:, i])
            parts.append(attack.score(Signals(read.values[:, :, i], read.member, read.target[:, i], unseen)))
        return np.stack(parts)

    def score(read: Signals) -> np.ndarray:
        scores = each(read)
        return _weights(read, each, len(read.values) > max(attack.shadows, 1), len(scores)) @ scores

    name, signal = f"{attack.name}{AT}{TOGETHER}", _stacked(attack.signal)
    return dataclasses.replace(attack, name=name, signal=signal, score=score, on=None)


def _weights(read: Signals, each: Callable[[Signals], np.ndarray], enough: bool, versions: int) -> np.ndarray:
    """Returns a weight for each version, fitted on shadows that stand in for the target; equal ones without them."""
    equal = np.full(versions, 1 / versions)
    if not enough or read.member.all() or not read.member.any():
        return equal
    stand_ins = range(min(len(read.values), MAX_STAND_INS))
    population = None if read.population is None else read.population[0]
    parts = [each(stand_in(read.values, read.member, k, population)) for k in stand_ins]
    scores, member = np.concatenate(parts, 1), read.member[: len(parts)].reshape(-1)
    usable = np.isfinite(scores).all(0)
    weights = _logistic(scores[:, usable], member[usable]) if usable.any() else equal
    # Of one scale whoever fits them, because thresholds come from stand-ins, whose own weights differ or are equal.
    size = np.abs(weights).sum()
    return weights / size if size > 0 else equal


def _logistic(scores: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Returns the weights [v] of scores [v, n] in a logistic regression of membership, by Newton's steps."""
    scale = np.maximum(np.median(np.abs(scores - np.median(scores, 1)[:, None]), 1), 1e-12)
    # Beyond some deviations a score says no more of the weights, and would decide them alone.
    tamed = np.clip(scores / scale[:, None], -10, 10)
    x = np.concatenate([tamed, np.ones((1, scores.shape[1]))])
    weights = np.zeros(len(x))
    for _ in range(STEPS):
        p = special.expit(weights @ x)
        gradient = x @ (member - p) / len(member) - RIDGE * weights
        hessian = (x * (p * (1 - p))[None]) @ x.T / len(member) + RIDGE * np.eye(len(x))
        weights = weights + np.linalg.solve(hessian, gradient)
    return weights[:-1] / scale


def released(predict: Any) -> tuple[tuple[str, ...], Any]:
    """Returns (names of versions, predict function by name) of several; ((), predict) of one."""
    if isinstance(predict, Model) or not isinstance(predict, (Mapping, list, tuple)):
        return (), predict
    if not isinstance(predict, Mapping):
        predict = {f"version_{i}": one for i, one in enumerate(predict, 1)}
    names = check_versions("predict", predict)
    for name, one in predict.items():
        if not (callable(one) or isinstance(one, Model)):
            raise ValueError(f"predict[{name!r}] is a {type(one).__name__}; expected a function of x.")
    return names, dict(predict)


def check_one_query(queries: Any, outputs: str, classes: Any) -> None:
    """Raises ValueError for what an audit of several versions does not read."""
    if queries is not None:
        raise ValueError("queries= asks about moved copies, which is not read of several versions; leave it out.")
    if outputs not in ("logits", "probabilities"):
        raise ValueError(f"outputs={outputs!r}; several versions give logits or probabilities of a classifier.")
    if classes is not None:
        raise ValueError("classes= names columns of one model; with several versions give class numbers as y.")


def all_versions(
    versions: Sequence[str], signals: Sequence[Signal], y: Array, parts: tuple[Readings, Any, Any]
) -> tuple[Readings, Any, Any]:
    """Returns the readings of a target, its shadows and its population, each with every version's signals.

    Args:
      versions: names; `parts` hold outputs of the first as such, and those of the others as queries.
      signals: that attacks on one model read.
      y: [n] labels of the target's records.
      parts: readings of the target, `Shadows` or None, and (readings, labels) of a population or None.
    """
    readings, shadows, population = parts
    if shadows is not None:
        values = version_readings(split(shadows.readings, versions), shadows.y, signals)
        shadows = shadows._replace(readings=values)
    if population is not None:
        population = version_readings(split(population[0], versions), population[1], signals), population[1]
    return version_readings(split(readings, versions), y, signals), shadows, population
