"""Scores in, a Report out: what is the same of one target and of several."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from gecko_jax.attacks import SIGNALS
from gecko_jax.audit import exposed, figures
from gecko_jax.audit.blind import Baselines
from gecko_jax.audit.claim import hold_against, judge
from gecko_jax.audit.report import Report
from gecko_jax.audit.slices import by_class, of_groups
from gecko_jax.privacy import Epsilon
from gecko_jax.types import Array


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
        drawn=hashlib.blake2b(y.astype(np.int64).tobytes() + member.tobytes(), digest_size=8).hexdigest(),
        threshold=chosen_how,
        warnings=(*blind.warnings, *warnings, *figures.resolution_warnings(member), *asked.warnings),
        notes=(*notes, *classes.warnings),
        baselines=blind.found,
        slices={**asked.found, **classes.found},
        sliced_by=attack,
        score_histograms={name: figures.score_histogram(found, member) for name, found in scores.items()},
        exposed=exposed.most(judged, member, attack=attack, y=y, id=ids, x=x),
        claim=epsilon and hold_against(epsilon, attack, list(judged), member),
    )
