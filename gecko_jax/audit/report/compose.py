"""Composes a Report from the attacks' scores, for one target as for several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gecko_jax.attacks import ATTACKS
from gecko_jax.audit.reading.readings import Readings
from gecko_jax.audit.report import figures
from gecko_jax.audit.report.ceilings import ceilings
from gecko_jax.audit.report.gate import only_thresholds
from gecko_jax.audit.report.headline import headline
from gecko_jax.audit.report.loss_tails import loss_tails
from gecko_jax.audit.report.most_exposed import most_exposed
from gecko_jax.audit.report.performance import confidence_histogram, performance
from gecko_jax.audit.report.privacy_claim import (
    NO_CLAIM,
    ClaimCheck,
    PrivacyClaim,
    check_claim,
    claim_attack,
    evidence_of_fixed_split,
)
from gecko_jax.audit.report.provenance import provenance
from gecko_jax.audit.report.report import Report
from gecko_jax.audit.report.slices import by_class, of_groups
from gecko_jax.audit.scoring.run_attacks import AttackResults
from gecko_jax.audit.validity.audited_records import AuditedRecords
from gecko_jax.audit.validity.blind_baselines import Baselines
from gecko_jax.audit.validity.containers import is_numeric
from gecko_jax.digests import value_digest

ONLY_THRESHOLDS = (
    "Only threshold attacks were tried: none had shadow models, with which attacks often find several times as much. "
    "Pass recipe=, pool=, shadows= and key= to audit(), or audit several models: audit_models, or --models=4 of the "
    "script that trains."
)
UNREAD_SHADOWS = (
    "Only threshold attacks were tried: none read the target's shadow models, which are there, and with which attacks "
    "often find several times as much. Name one that does, such as 'rmia' or 'lira', or leave attacks out."
)
NOTED = "it could not be run; a note says why"


class Setting(NamedTuple):
    """How the targets were attacked, and what a reader must know of it.

    Attributes:
      thresholds: how the thresholds of the attack accuracy were chosen, in words.
      shadows: models that each target was attacked with.
      blind: what tells members without the model.
      warnings: in words.
    """

    thresholds: str
    shadows: int
    blind: Baselines
    warnings: Sequence[str] = ()


def compose(
    results: AttackResults,
    audited: AuditedRecords,
    readings: Readings,
    *,
    setting: Setting,
    claim: PrivacyClaim = NO_CLAIM,
    not_run: Mapping[str, str] | None = None,
) -> Report:
    """Returns the report of m targets.

    Args:
      results: scores and thresholds of every attack.
      audited: the records, and who was a member of which target.
      readings: what was read off the m targets.
      setting: how the targets were attacked, and what speaks for or against the figures.
      claim: a guarantee to hold the scores against.
      not_run: listed attack -> why it did not run.

    Raises:
      ClaimRefuted: an attack shows more than the claim allows.
    """
    scores, member = results.scores, audited.member
    rows = [
        {name: figures.target_figures(scores[name][i], member[i], results.thresholds[name][i]) for name in scores}
        for i in range(len(member))
    ]
    attack = claim_attack(scores)
    ran = {name.partition("@")[0] for name in scores}  # of several versions a name is "attack@version"
    judged, thresholds = np.stack(scores[attack]), np.stack(results.thresholds[attack])
    classes = {} if audited.class_numbers is None else by_class(audited.class_numbers)
    of_classes = of_groups(judged, member, thresholds, classes)
    of_slices = of_groups(judged, member, thresholds, audited.slices or {})
    threshold_only = only_thresholds(results.needs)
    caveats = ["Only threshold attacks were tried; others may find more."] if threshold_only else []
    if setting.blind.differ:
        caveats.append("Members differ from non-members without the model, too: not all of this is leakage.")
    return Report(
        rows=rows[0]
        if len(rows) == 1
        else {name: figures.over_targets([row[name] for row in rows]) for name in scores},
        targets=tuple(rows),
        curves={name: figures.roc_curves(each, member) for name, each in scores.items()},
        confidence_histogram=confidence_histogram(readings, audited),
        performance=performance(readings, audited),
        loss_tail=loss_tails(readings, audited),
        members=tuple(member.sum(1).tolist()),
        nonmembers=tuple((~member).sum(1).tolist()),
        design_hash=value_digest(*[] if audited.y is None else [audited.y], member),
        threshold=setting.thresholds,
        warnings=(
            *setting.blind.warnings,
            *setting.warnings,
            *[UNREAD_SHADOWS if setting.shadows else ONLY_THRESHOLDS] * threshold_only,
            *figures.resolution_warnings(member),
            *of_slices.warnings,
        ),
        notes=(*results.notes, *of_classes.warnings),
        baselines=setting.blind.aucs,
        slices={**of_slices.figures, **of_classes.figures},
        sliced_by=attack,
        score_histograms={name: figures.score_histogram(each, member) for name, each in scores.items()},
        most_exposed=most_exposed(
            judged,
            member,
            attack=attack,
            y=audited.class_numbers,
            id=audited.ids,
            x=audited.x if is_numeric(audited.x) else None,  # only numbers are shown
        ),
        claim=_checked_claim(claim, attack, judged, audited),
        ceilings={} if claim.epsilon is None else ceilings(claim.epsilon),
        tried=dict(results.needs),
        not_run={name: (not_run or {}).get(name, NOTED) for name in ATTACKS if name not in ran},
        headline=" ".join([headline(rows, (~member).sum(1)), *caveats]),
        provenance=provenance(readings, audited, setting.shadows),
    )


def _checked_claim(claim: PrivacyClaim, attack: str, scores: np.ndarray, audited: AuditedRecords) -> ClaimCheck | None:
    """Returns the claim beside what the attack shows, without a bound if members are a fixed split."""
    if claim.epsilon is None:
        return None
    doubt = "members are a fixed split (coins=False)" if claim.coins is False else ""
    if claim.coins is None and (seen := evidence_of_fixed_split(audited.member, audited.ids)):
        doubt = f"members appear to be a fixed split: {seen}; if fair coins drew them, say coins=True"
    if doubt:
        return ClaimCheck(claim.epsilon, None, doubt)
    return check_claim(claim.epsilon, attack, list(scores), audited.member, claim.coins is True)
