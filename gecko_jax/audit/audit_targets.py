"""Runs planned attacks on checked readings and composes the Report: what every way into an audit ends in."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from gecko_jax.audit.reading.class_names import check_columns
from gecko_jax.audit.reading.ensemble_signals import EnsembleSignals
from gecko_jax.audit.reading.readings import Readings
from gecko_jax.audit.reading.recipe_checks import Shadows
from gecko_jax.audit.report.compose import Setting, compose
from gecko_jax.audit.report.privacy_claim import FAIR_COINS, NO_CLAIM, PrivacyClaim
from gecko_jax.audit.report.report import Report
from gecko_jax.audit.scoring.run_attacks import AttackPlan, Comparison, run_attacks
from gecko_jax.audit.validity import inputs
from gecko_jax.audit.validity.audited_records import AuditedRecords
from gecko_jax.audit.validity.blind_baselines import Baselines, baselines
from gecko_jax.signals import Signal
from gecko_jax.types import Array, Signals

MAX_CACHED_SIGNALS = 4  # of all models: attacks on one signal follow each other, and some read several


def audit_one_target(
    plan: AttackPlan,
    readings: Readings,
    audited: AuditedRecords,
    shadows: Shadows | None = None,
    population: tuple[Readings, Array] | None = None,
    claim: PrivacyClaim = NO_CLAIM,
    warnings: Sequence[str] = (),
) -> Report:
    """Audits one model, beside shadow models if there are any.

    Args:
      plan: the attacks.
      readings: of the model [n, ...].
      audited: the n records; member is [1, n].
      shadows: readings of the shadow models, or None: thresholds then come from split halves of the records.
      population: readings and labels [z] of records that no model was trained on, or None.
      claim: a guarantee to hold the scores against.
      warnings: sentences about what was given, which come after those of the blind baselines.

    Raises:
      ClaimRefuted: an attack shows more than the claim allows.
      ValueError: an attack that was asked for by name and fails; fewer than two members or non-members.
    """
    comparison = _beside_shadows(readings, audited, shadows, population)
    count = 0 if shadows is None else len(shadows.member)
    how = (
        f"best balanced accuracy on {count} shadow models, each a stand-in target"
        if count
        else "no shadow models: fitted on one half of the records, judged on the other, halves swapped"
    )
    return _audit(plan, [comparison], readings.models(None), audited, (how, count, [*warnings]), claim)


def audit_each_target(
    plan: AttackPlan,
    readings: Readings,
    audited: AuditedRecords,
    claim: PrivacyClaim = FAIR_COINS,
    population: tuple[Readings, Array] | None = None,
    warnings: Sequence[str] = (),
) -> Report:
    """Audits each of m >= 2 models with the help of the other m - 1: see `audit_one_target`.

    Args:
      plan: the attacks.
      readings: of the models [m, n, ...].
      audited: the n records; member is [m, n].
      claim: a guarantee that each model is said to have.
      population: readings of the models [m, z, ...] and labels [z] of records that none was trained on, or None.
      warnings: sentences about what was given, which come after those of the blind baselines.
    """

    @functools.lru_cache(maxsize=MAX_CACHED_SIGNALS)
    def every(signal: Signal) -> EnsembleSignals:
        # A named reference has not read the population, so its signals have none.
        unseen = None
        if population is not None and signal in population[0].available:
            unseen = population[0].signal(signal, population[1])
        return EnsembleSignals(readings.signal(signal, audited.y), audited.member, unseen)

    def comparison(target: int) -> Comparison:
        return Comparison(
            lambda signal: every(signal).stand_in(target),
            lambda signal: every(signal).without(target),
            audited.threshold_groups,
        )

    models = len(audited.member)
    how = f"best balanced accuracy on the {models - 1} other models, each a stand-in target"
    doubts = [*warnings, *inputs.check_design(audited.member)]
    return _audit(plan, list(map(comparison, range(models))), readings, audited, (how, models - 1, doubts), claim)


def _audit(
    plan: AttackPlan,
    comparisons: Sequence[Comparison],
    readings: Readings,
    audited: AuditedRecords,
    setting: tuple[str, int, list[str]],
    claim: PrivacyClaim,
) -> Report:
    for choice in plan.choices:
        if any(attack.per_class for attack in choice.attacks) and audited.class_numbers is None:
            raise ValueError(
                f"attack {choice.name!r} chooses a threshold for each class, and the labels are not class numbers; "
                "give integers y [n], or leave it out."
            )
    results = run_attacks(plan, comparisons, audited.threshold_groups, audited.member)
    how, shadows, warnings = setting
    if readings.logits is not None and audited.class_numbers is not None:
        warnings = [*warnings, *check_columns(readings.logits, audited.class_numbers, audited.member)]
    blind = _blind(audited, comparisons[0], readings)
    return compose(
        results,
        audited,
        readings,
        setting=Setting(how, shadows, blind, warnings),
        claim=claim,
        not_run=plan.not_run,
    )


def _beside_shadows(
    readings: Readings,
    audited: AuditedRecords,
    shadows: Shadows | None,
    population: tuple[Readings, Array] | None,
) -> Comparison:
    def target(signal: Signal) -> list[Signals]:
        values = readings.signal(signal, audited.y)
        unseen = [None] * len(values)
        if population is not None and signal in population[0].available:
            unseen = population[0].signal(signal, population[1])
        if shadows is None:
            nobody = np.zeros((0, audited.member.shape[1]), bool)
            empty = [None if z is None else (np.zeros((0, *z.shape)), z) for z in unseen]
            return [Signals(np.zeros((0, *t.shape)), nobody, t, z) for t, z in zip(values, empty, strict=True)]
        of_shadows, of_population = of_all_shadows(signal).values, of_all_shadows(signal).population or unseen
        pairs = [None if s is None or z is None else (s, z) for s, z in zip(of_population, unseen, strict=True)]
        member = shadows.member[:, shadows.rows]
        return [Signals(s[:, shadows.rows], member, t, z) for s, t, z in zip(of_shadows, values, pairs, strict=True)]

    if shadows is None:
        return Comparison(target)

    @functools.lru_cache(maxsize=MAX_CACHED_SIGNALS)
    def of_all_shadows(signal: Signal) -> EnsembleSignals:
        values = shadows.readings.signal(signal, shadows.y)
        if population is None or signal not in population[0].available:
            return EnsembleSignals(values, shadows.member)
        return EnsembleSignals(values, shadows.member, [one[:, shadows.unseen] for one in values])

    pool = slice(0, shadows.pool)
    return Comparison(target, lambda signal: of_all_shadows(signal).on(pool), shadows.y[pool])


def _blind(audited: AuditedRecords, comparison: Comparison, readings: Readings) -> Baselines:
    """Returns the baselines of the first target; the members of the others were drawn alike."""
    signal = readings.loss_signal
    values = member = None
    if comparison.reference is not None and signal is not None:
        values, member, *_ = comparison.audited(signal)[0]
    chosen = audited.threshold_groups, audited.member[0], values, member
    return baselines(audited.x, *chosen, audited.references, audited.groups)
