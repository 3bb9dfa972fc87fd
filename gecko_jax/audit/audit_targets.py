"""The hall behind every door: attacks that are chosen already, on readings that are checked already -> a Report."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from gecko_jax.audit.reading.class_names import check_columns
from gecko_jax.audit.reading.readings import Readings
from gecko_jax.audit.reading.shadows import Shadows
from gecko_jax.audit.report.compose import Setting, compose
from gecko_jax.audit.report.privacy_claim import FAIR_COINS, NO_CLAIM, PrivacyClaim
from gecko_jax.audit.report.report import Report
from gecko_jax.audit.scoring.run_attacks import AttackPlan, Comparison, run_attacks
from gecko_jax.audit.scoring.selection import Seen
from gecko_jax.audit.validity import inputs
from gecko_jax.audit.validity.audited_records import AuditedRecords
from gecko_jax.audit.validity.blind_baselines import Baselines, baselines

SIGNALS_KEPT = 4  # of all models at a time: attacks of one signal follow each other, and some read several


def audit_one_target(
    plan: AttackPlan,
    readings: Readings,
    audited: AuditedRecords,
    shadows: Shadows | None = None,
    population: tuple[Readings, np.ndarray] | None = None,
    claim: PrivacyClaim = NO_CLAIM,
) -> Report:
    """Audits one model, beside shadow models if there are any.

    Args:
      plan: the attacks.
      readings: of the model [n, ...].
      audited: the n records; member is [1, n].
      shadows: readings of the shadow models, or None: then thresholds come by split halves.
      population: readings and labels [z] of records that no model was trained on, or None.
      claim: a guarantee to hold the scores against.

    Raises:
      ClaimRefuted: an attack shows more than the claim allows.
      ValueError: an attack that was asked for by name and fails; fewer than two members or non-members.
    """
    comparison = _beside_shadows(readings, audited.threshold_groups, shadows, population)
    count = 0 if shadows is None else len(shadows.member)
    how = (
        f"best balanced accuracy on {count} shadow models, each a stand-in target"
        if count
        else "no shadow models: fitted on one half of the records, judged on the other, halves swapped"
    )
    return _audit(plan, [comparison], readings.models(None), audited, (how, count, []), claim)


def audit_each_target(
    plan: AttackPlan, readings: Readings, audited: AuditedRecords, claim: PrivacyClaim = FAIR_COINS
) -> Report:
    """Audits each of m >= 2 models with the help of the other m - 1: see `audit_one_target`.

    Args:
      plan: the attacks.
      readings: of the models [m, n, ...].
      audited: the n records; member is [m, n].
      claim: a guarantee that each model is said to have.
    """

    @functools.lru_cache(maxsize=SIGNALS_KEPT)
    def every(signal: str) -> Seen:
        values = readings.signal(signal, audited.y)
        return Seen(values, audited.member, [one[0] for one in values])

    def comparison(target: int) -> Comparison:
        def beside_the_others(signal: str) -> Seen:
            return every(signal).as_target(target)

        return Comparison(beside_the_others, beside_the_others, audited.threshold_groups)

    models = len(audited.member)
    how = f"best balanced accuracy on the {models - 1} other models, each a stand-in target"
    doubts = inputs.check_design(audited.member)
    return _audit(plan, list(map(comparison, range(models))), readings, audited, (how, models - 1, doubts), claim)


def _audit(
    plan: AttackPlan,
    comparisons: Sequence[Comparison],
    readings: Readings,
    audited: AuditedRecords,
    setting: tuple[str, int, list[str]],
    claim: PrivacyClaim,
) -> Report:
    results = run_attacks(plan, comparisons, audited.threshold_groups, audited.member)
    how, shadows, warnings = setting
    if readings.logits is not None:
        warnings = [*warnings, *check_columns(readings.logits, audited.y, audited.member)]
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
    readings: Readings, y: np.ndarray, shadows: Shadows | None, population: tuple[Readings, np.ndarray] | None
) -> Comparison:
    def of_population(signal: str) -> tuple[np.ndarray, np.ndarray] | None:
        if population is None:
            return None
        target = population[0].signal(signal, population[1])[0]
        if shadows is None:
            return np.zeros((0, *target.shape)), target
        return shadows.readings.signal(signal, shadows.y)[0][:, shadows.unseen], target

    @functools.lru_cache(maxsize=SIGNALS_KEPT)
    def every(signal: str) -> Seen:
        target = readings.signal(signal, y)
        if shadows is None:
            nobody = [np.zeros((0, *values.shape)) for values in target]
            return Seen(nobody, np.zeros((0, len(y)), bool), target, of_population(signal))
        values = shadows.readings.signal(signal, shadows.y)
        return Seen(values, shadows.member, target, of_population(signal))

    if shadows is None:
        return Comparison(every)
    pool = slice(0, shadows.pool)
    return Comparison(
        lambda signal: every(signal).on(shadows.rows), lambda signal: every(signal).on(pool), shadows.y[pool]
    )


def _blind(audited: AuditedRecords, comparison: Comparison, readings: Readings) -> Baselines:
    """Of the first target: the others' members are drawn as its own are."""
    y = audited.threshold_groups if audited.y is None else audited.y
    signal = "loss" if readings.logits is not None else next(iter(readings.probed), None)
    if comparison.reference is None or signal is None:
        return baselines(audited.x, y, audited.member[0])
    seen = comparison.audited(signal)
    return baselines(audited.x, y, audited.member[0], seen.values[0], seen.member)
