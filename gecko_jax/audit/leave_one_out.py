"""An ensemble audited by itself: every model is a target in turn, with the other models as its shadows.

m trainings give m audits. Scores of several targets are never pooled: a figure is taken for each target, and the mean
and its interval over targets say what one more training would show. The targets share records and shadows, so the
interval is that of new members and seeds, not of a new data set.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from gecko_jax import checks
from gecko_jax.attacks import SIGNALS, Attack
from gecko_jax.audit import figures, inputs, thresholds
from gecko_jax.audit.claim import hold_against, judge
from gecko_jax.audit.report import Report
from gecko_jax.privacy import Epsilon
from gecko_jax.types import Array, Signals


def audit_models(
    logits: Array,
    y: Array,
    member: Array,
    attacks: Iterable[Attack] | None = None,
    records: Array | None = None,
    epsilon: Epsilon | None = None,
) -> Report:
    """Audits each of m models with the help of the other m - 1.

    Args:
      logits: [m, n, c] outputs of m models on n records, without augmentation.
      y: [n] labels.
      member: [m, n] bool, who was in which model's training set, drawn by independent coins.
      attacks: which; the usual ones that m - 2 shadows suffice for, if None.
      records: int [k], the records to look at, or all.
      epsilon: the guarantee that each model is said to have; a bound from the attacks is then put below it.

    Returns:
      A Report over m targets: means with Student t intervals, each target's own figures, ROC bands, warnings.

    Raises:
      ClaimRefuted: the bound exceeds `epsilon`.
      ValueError: one model alone, wrong shapes or values, two models with the same members, or fewer than two members
        or non-members of some model.
    """
    logits = inputs.as_logits("logits", logits)
    checks.shape("logits", logits, (None, None, None))
    models, n, classes = logits.shape
    if models < 2:
        raise ValueError(
            f"logits holds {models} model; each target needs another model to choose its threshold on. Train two or "
            "more on members drawn apart, or audit the one alone: audit_model(logits[0], y, member[0])."
        )
    y = inputs.check_labels(y, n, classes)
    checks.shape("member", np.asarray(member), (models, n))
    if records is not None:
        rows = _rows(records, n)
        logits, y, member = logits[:, rows], y[rows], np.asarray(member)[:, rows]
    member = inputs.check_member(member, (models, len(y)))
    warnings = inputs.check_design(member) + figures.resolution_warnings(member)
    chosen = inputs.choose_attacks(attacks, models - 2)

    signals = {name: SIGNALS[name](logits, y) for name in {a.signal for a in chosen} | {"confidence", "correct"}}
    scores = {attack.name: [] for attack in chosen}
    targets = []
    for target in range(models):
        others = np.arange(models) != target
        row = {}
        for attack in chosen:
            values = signals[attack.signal]
            found = attack(Signals(values[others], member[others], values[target]))
            threshold = thresholds.on_shadows(attack, values[others], member[others], y, y)
            row[attack.name] = figures.target_figures(found, member[target], threshold)
            scores[attack.name].append(found)
        targets.append(row)
    return Report(
        rows={attack.name: figures.over_targets([row[attack.name] for row in targets]) for attack in chosen},
        targets=tuple(targets),
        curves={name: figures.roc_curves(found, member) for name, found in scores.items()},
        histogram=figures.confidence_histogram(signals["confidence"], member),
        accuracy=figures.model_accuracies(signals["correct"], member),
        members=tuple(member.sum(1).tolist()),
        nonmembers=tuple((~member).sum(1).tolist()),
        threshold=f"best balanced accuracy on the {models - 1} other models, each a fake target",
        warnings=tuple(warnings),
        claim=epsilon and hold_against(epsilon, judge(scores), list(scores[judge(scores)]), member),
    )


def _rows(records: Array, n: int) -> np.ndarray:
    """`records` as unique indices in 0..n-1."""
    rows = checks.not_empty("records", checks.shape("records", np.asarray(records), (None,)))
    if not np.issubdtype(rows.dtype, np.integer):
        raise ValueError(f"records has dtype {rows.dtype}; expected indices (np.flatnonzero of a mask).")
    if rows.min() < 0 or rows.max() >= n or len(np.unique(rows)) < len(rows):
        raise ValueError(f"records must be distinct indices in 0..{n - 1}; they run {rows.min()}..{rows.max()}.")
    return rows
