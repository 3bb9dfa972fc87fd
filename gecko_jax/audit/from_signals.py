"""An audit of saved signals: losses of any model, be it a language model, a regression or a classifier."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from gecko_jax import checks
from gecko_jax.attacks import reference_ratio
from gecko_jax.audit.audit_targets import audit_each_target, audit_one_target
from gecko_jax.audit.reading.named_references import References, named_references
from gecko_jax.audit.reading.readings import Readings
from gecko_jax.audit.reading.recipe_checks import Shadows
from gecko_jax.audit.reading.saved_audit import SavedAudit
from gecko_jax.audit.reading.saved_signals import Values, check_population, pointing_away, saved_signals
from gecko_jax.audit.reading.users import check_rows_of_users, users_of
from gecko_jax.audit.report.privacy_claim import PrivacyClaim, privacy_claim
from gecko_jax.audit.report.report import Report
from gecko_jax.audit.scoring.attack_plan import AttackPlan, plan_attacks
from gecko_jax.audit.scoring.selection import Choice
from gecko_jax.audit.validity import inputs
from gecko_jax.audit.validity.audited_records import AuditedRecords
from gecko_jax.audit.validity.containers import as_records, count
from gecko_jax.metrics.roc import as_member
from gecko_jax.privacy import Epsilon
from gecko_jax.types import Array, Examples

NO_LABELS = np.zeros(0, np.int64)  # of a population whose signals were saved


def from_signals(
    values: Values,
    member: Array,
    attacks: Iterable | str | None = None,
    *,
    target: Values | None = None,
    target_member: Array | None = None,
    population: Values | None = None,
    target_population: Values | None = None,
    references: References | None = None,
    users: Array | None = None,
    groups: Array | None = None,
    records: Examples | None = None,
    slices: Mapping[str, Array] | None = None,
    claimed_epsilon: Epsilon | None = None,
    coins: bool | None = None,
) -> Report:
    """Audits models from values that were read off them: losses, confidences, or a signal of your own.

    There are three ways to name the targets. Values [m, n] of m models: each is a target in turn, with the other m - 1
    as its shadows. Values [m, n] and `target` [n]: the m models are shadows of that one target. Values [n] of one model
    alone: only attacks that read the target run.

    Args:
      values: name of a listed signal (`gecko_jax.signals.SIGNALS`), or a Signal -> [m, n] or [n] numbers. The signal
        says which way a member lies: "loss" is smaller for members, "confidence" larger.
      member: bool of the same shape, who was in which model's training set, drawn by independent coins.
      attacks: the attacks to run; None for every listed attack that can read these signals. See `audit`.
      target: the same signals of one target [n]; then `values` are of its shadow models.
      target_member: bool [n], who was in the target's training set; needed with `target`.
      population: the same signals of the same models on z other records that none of them was trained on, [m, z] or
        [z]: RMIA compares with them.
      target_population: the target's [z]; needed with `target` and `population`.
      references: name -> the same signals [n] of a model that was trained on none of the records, such as the
        pre-trained copy of a fine-tuned target; an array [n], if `values` hold one signal. `reference_ratio` compares
        targets with them, and the report says first what each tells by itself: a reference that tells members apart
        without the target shows that members and non-members differ.
      users: [n] names or numbers, to audit users instead of records: each signal is averaged over a user's records,
        and a user is a member with all of them or with none. The report names no user: user i is the i-th of
        np.unique(users).
      groups: [n] names or numbers: records of one group, such as the rows of a document, became members together. The
        blind baseline is fitted on other groups than it scores, because it would know a group by its other records.
      records: the n records, each of x, y and id or None: y (class numbers) for slices by class, x for a blind
        baseline, x and id to show the most exposed.
      slices: name -> bool [n], records to report separately, beside the classes.
      claimed_epsilon: the guarantee that each target is said to have; see `audit`.
      coins: whether each record was a member of the one target by a fair coin, as `claimed_epsilon` needs; see `audit`.

    Returns:
      The Report of `audit_models`, or of `audit_model` if there is one target. It says which listed attacks cannot run
      on these signals, and why.

    Raises:
      ClaimRefuted: the bound exceeds `claimed_epsilon`.
      ValueError: an unknown signal, wrong shapes, NaN, values beyond the bounds of their signal, members or non-members
        alone, a target among its own shadows or references, a population of the audited records, ids that are
        repeated, a user with members and non-members, or an attack that these signals do not suffice for.

    >>> rng = np.random.default_rng(0)
    >>> member = rng.random((8, 300)) < 0.5
    >>> losses = rng.gamma(2.0, size=(8, 300)) * np.where(member, 0.5, 1.0)
    >>> report = from_signals({"loss": losses}, member, attacks=["lira", "rmia"])
    >>> 0.6 < report.rows["rmia"]["auc"].value < 0.8
    True

    A fine-tuned language model beside its pre-trained copy, whose loss says how hard a text is:

    >>> hardness, member = rng.gamma(9.0, size=400), rng.random(400) < 0.5
    >>> losses = hardness * np.where(member, 0.9, 1.0) + rng.gamma(9.0, 0.05, size=400)
    >>> report = from_signals({"sequence_loss": losses}, member, references={"pretrained": hardness})
    >>> report.rows["loss"]["auc"].value < 0.65 < 0.95 < report.rows["reference_ratio"]["auc"].value
    True
    """
    claim = privacy_claim(claimed_epsilon, coins)
    member = np.asarray(checks.unmasked("member", member))
    if member.ndim not in (1, 2) or (member.ndim == 1 and target is not None):
        raise ValueError(f"member has shape {member.shape}; expected (models, records), or (records,) of one model.")
    readings = saved_signals("values", values, (None,) * member.ndim)
    shape = next(iter(readings.values.values())).shape[: member.ndim]
    member = _check_member("member", member, shape)
    unseen = None if population is None else saved_signals("population", population, (*shape[:-1], None), readings)
    if unseen is not None:
        check_population(readings, unseen, member.ndim)
    of_target = None
    if target is not None:
        if target_member is None or (population is None) != (target_population is None):
            raise ValueError(
                "target= needs target_member=, who was in its training set; and population= needs target_population=, "
                "the target's own values on these records."
            )
        of_target = saved_signals("target", target, shape[1:], readings)
        target_member = np.asarray(checks.unmasked("target_member", target_member))
        target_member = _check_member("target_member", target_member, shape[1:])
    elif target_member is not None or target_population is not None:
        raise ValueError("target_member and target_population are of a target, and there is none; pass target=.")
    elif shape[:-1] == (1,):
        raise ValueError(
            "values are of 1 model; each target needs another model to choose its threshold on. Give two or more, "
            "or audit the one alone, without the first axis: values [n] and member [n]."
        )
    saved = SavedAudit(readings, member, of_target, target_member, slices and inputs.check_groups(slices, shape[-1]))
    if references is not None:
        saved = saved._replace(references=named_references(references, of_target or readings, shape[-1]))
    if groups is not None:
        names = checks.shape("groups", np.asarray(checks.unmasked("groups", groups)), shape[-1:]).astype(str)
        saved = saved._replace(groups=np.unique(names, return_inverse=True)[1])
    notes = []
    if users is not None:
        owners = users_of(users, shape[-1])
        check_rows_of_users(owners, claimed_epsilon, {"population": population, "records": records, "groups": groups})
        notes, saved = [owners.note()], saved.by_user(owners)
    return _report(saved, attacks, unseen, target_population, (records, claim, notes))


def _report(
    saved: SavedAudit,
    attacks: Any,
    unseen: Readings | None,
    target_population: Values | None,
    beside: tuple[Examples | None, PrivacyClaim, list[str]],
) -> Report:
    """Runs the attacks on checked values; `beside` holds the records, a claim, and notes that come before others."""
    records, claim, notes = beside
    readings, target, member = *saved.with_ratios(), saved.member
    unread = unseen and (unseen, NO_LABELS)
    if target is None or saved.target_member is None:
        audited = _audited(np.atleast_2d(inputs.check_member(member, member.shape)), records, saved)
        if member.ndim == 2:
            plan = _plan(attacks, len(member) - 1, readings, unseen, saved)
            warnings = pointing_away(saved.readings, audited.member)
            report = audit_each_target(plan, readings, audited, claim._replace(coins=True), unread, warnings)
        else:
            plan = _plan(attacks, 0, readings, unseen, saved)
            warnings = pointing_away(saved.readings.models(None), audited.member)
            report = audit_one_target(plan, readings, audited, None, unread, claim, warnings)
    else:
        inputs.check_shadows(member, saved.target_member)
        audited = _audited(inputs.check_member(saved.target_member, member.shape[1:])[None], records, saved)
        plan = _plan(attacks, len(member), readings, unseen, saved)
        warnings = pointing_away(saved.target.models(None), audited.member) if saved.target else []
        others = None
        if unseen is not None and target_population is not None:
            z = next(iter(unseen.values.values())).shape[1]
            others = saved_signals("target_population", target_population, (z,), saved.readings), NO_LABELS
        shadows = _shadows(readings, member, audited, unseen)
        report = audit_one_target(plan, target, audited, shadows, others, claim, warnings)
    return dataclasses.replace(report, notes=(*notes, *report.notes, *_unread(plan, saved.readings)))


def _check_member(name: str, member: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns who was a member as bool, of the values' shape."""
    if member.shape != shape:
        hint = " Transpose it: member.T." if member.shape == shape[::-1] else ""
        raise ValueError(f"{name} has shape {member.shape} and the values {shape}; expected one bool for each.{hint}")
    return as_member(member)


def _audited(member: np.ndarray, records: Examples | None, saved: SavedAudit) -> AuditedRecords:
    n = member.shape[1]
    alone = saved.references.alone() if saved.references else {}
    if records is None:
        return AuditedRecords(member, slices=saved.slices, references=alone)
    x = None if records.x is None else as_records(records.x)
    y = None if records.y is None else np.asarray(checks.unmasked("records.y", records.y))
    ids = None if records.id is None else np.asarray(records.id)
    for name, part in (("x", x), ("y", y), ("id", ids)):
        if part is not None and count(part) != n:
            raise ValueError(f"records.{name} has {count(part)} rows; expected one for each of the {n} records.")
    if ids is not None and len(np.unique(ids)) < n:
        raise ValueError(f"records.id names {len(np.unique(ids))} of {n} records; each needs its own id, or None.")
    return AuditedRecords(member, y, x, ids, saved.slices, alone, saved.groups)


def _plan(attacks: Any, shadows: int, readings: Readings, population: Readings | None, saved: SavedAudit) -> AttackPlan:
    """Returns the attacks that read these signals; of several references one for each, beside that of their mean."""
    plan = plan_attacks(attacks, shadows, readings.available, population is not None)
    if not plan.choices:
        raise ValueError(
            f"no listed attack reads {checks.listed(readings.values)}; name attacks that do, for example "
            "attacks=[gecko_jax.attacks.lira(signal=...)]."
        )
    names = list(saved.references.models) if saved.references else []
    if plan.by_name or len(names) < 2:
        return plan
    each = [reference_ratio(name) for name in names]
    return plan._replace(choices=[*plan.choices, *(Choice(attack.name, (attack,)) for attack in each)])


def _shadows(readings: Readings, member: np.ndarray, audited: AuditedRecords, population: Readings | None) -> Shadows:
    """Returns the shadows' values on the audited records, followed by those on the population."""
    n, y = member.shape[1], audited.threshold_groups
    if population is None:
        return Shadows(readings, member, y, n, np.arange(n))
    both = {
        name: np.concatenate([values, population.values[name]], 1) if name in population.values else values
        for name, values in readings.values.items()
    }
    z = next(iter(population.values.values())).shape[1]
    outside, zeros = np.zeros((len(member), z), bool), np.zeros(z, y.dtype)
    return Shadows(
        readings._replace(values=both), np.concatenate([member, outside], 1), np.concatenate([y, zeros]), n,
        np.arange(n), np.arange(n, n + z),
    )  # fmt: skip


def _unread(plan: AttackPlan, readings: Readings) -> list[str]:
    """Returns a note about the signals that no attack reads."""
    unread = sorted(set(readings.values) - {signal.name for signal in plan.signals})
    return [f"no attack reads {checks.listed(unread)}; attacks= may name some that do"] if unread else []
