"""Scores in, a Report out: what is the same of one target and of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gecko_jax.attacks import ATTACKS, SIGNALS
from gecko_jax.audit.report import figures, most_exposed
from gecko_jax.audit.report.ceilings import ceilings
from gecko_jax.audit.report.gate import only_thresholds
from gecko_jax.audit.report.headline import headline
from gecko_jax.audit.report.privacy_claim import Claim, coins_doubt, hold_against, judge
from gecko_jax.audit.report.provenance import provenance
from gecko_jax.audit.report.report import Report
from gecko_jax.audit.report.slices import by_class, of_groups
from gecko_jax.audit.validity.blind_baselines import Baselines
from gecko_jax.digests import value_digest
from gecko_jax.privacy import Epsilon
from gecko_jax.types import Array

ONLY_THRESHOLDS = (
    "only threshold attacks were tried: none had shadow models, with which attacks often find several times as much. "
    "Pass recipe=, pool=, shadows= and key= to audit(), or audit several models (audit_models)"
)
NOTED = "it could not be run; a note says why"


def compose(
    scores: Mapping[str, Sequence[np.ndarray]],
    thresholds: Mapping[str, Sequence[np.ndarray]],
    logits: np.ndarray,
    y: np.ndarray,
    member: np.ndarray,
    *,
    chosen_how: str,
    blind: Baselines,
    warnings: Sequence[str] = (),
    notes: Sequence[str] = (),
    epsilon: Epsilon | None = None,
    groups: Mapping[str, Array] | None = None,
    x: Array | None = None,
    ids: Array | None = None,
    shadows: int = 0,
    tried: Mapping[str, tuple[str, ...]],
    not_run: Mapping[str, str] | None = None,
    coins: bool | None = None,
) -> Report:
    """The report of m targets.

    Args:
      scores: attack -> m times [n].
      thresholds: attack -> m times [n], not chosen on these records.
      logits: [m, n, c].
      y: [n].
      member: [m, n] bool.
      chosen_how: how the thresholds were, in words.
      blind: what is found without the model.
      warnings, notes: in words.
      epsilon: a guarantee to hold the scores against.
      groups: name -> bool [n], slices beside the classes.
      x, ids: the records [n, ...] and their names, to show the most exposed.
      shadows: models that each target was attacked with.
      tried: attack -> what it needs (`attacks.Attack.needs`).
      not_run: listed attack -> why it did not run.
      coins: whether members were drawn by fair coins, or None if nobody said: then it is judged by what can be seen.
    """
    rows = [
        {name: figures.target_figures(scores[name][i], member[i], thresholds[name][i]) for name in scores}
        for i in range(len(member))
    ]
    attack = judge(scores)
    judged = np.stack(scores[attack])
    classes = of_groups(judged, member, np.stack(thresholds[attack]), by_class(y))
    asked = of_groups(judged, member, np.stack(thresholds[attack]), groups or {})
    confidence, correct = (SIGNALS[name](logits, y) for name in ("confidence", "correct"))
    caveats = ["Only threshold attacks were tried; others may find more."] if only_thresholds(tried) else []
    if blind.shown:
        caveats.append("Members differ from the others without the model, too: not all of this is a leak.")
    return Report(
        rows=rows[0]
        if len(rows) == 1
        else {name: figures.over_targets([row[name] for row in rows]) for name in scores},
        targets=tuple(rows),
        curves={name: figures.roc_curves(found, member) for name, found in scores.items()},
        histogram=figures.confidence_histogram(confidence, member),
        accuracy=figures.model_accuracies(correct, member),
        members=tuple(member.sum(1).tolist()),
        nonmembers=tuple((~member).sum(1).tolist()),
        drawn=value_digest(y, member),
        threshold=chosen_how,
        warnings=(
            *blind.warnings,
            *[ONLY_THRESHOLDS] * only_thresholds(tried),
            *warnings,
            *figures.resolution_warnings(member),
            *asked.warnings,
        ),
        notes=(*notes, *classes.warnings),
        baselines=blind.found,
        slices={**asked.found, **classes.found},
        sliced_by=attack,
        score_histograms={name: figures.score_histogram(found, member) for name, found in scores.items()},
        exposed=most_exposed.most(judged, member, attack=attack, y=y, id=ids, x=x),
        claim=_claim(epsilon, attack, judged, member, ids, coins),
        ceilings={} if epsilon is None else ceilings(epsilon),
        tried=dict(tried),
        not_run={name: (not_run or {}).get(name, NOTED) for name in ATTACKS if name not in scores},
        headline=" ".join([headline(rows, (~member).sum(1)), *caveats]),
        provenance=provenance(logits, y, member, shadows, x, ids),
    )


def _claim(
    epsilon: Epsilon | None, attack: str, scores: np.ndarray, member: np.ndarray, ids: Array | None, coins: bool | None
) -> Claim | None:
    """The claim beside what the attack shows; beside nothing, if members are a fixed split."""
    if epsilon is None:
        return None
    doubt = "members are a fixed split (coins=False)" if coins is False else ""
    if coins is None and (seen := coins_doubt(member, ids)):
        doubt = f"members are a fixed split, by all appearance: {seen}; if fair coins drew them, say coins=True"
    return Claim(epsilon, None, doubt) if doubt else hold_against(epsilon, attack, list(scores), member, coins is True)
