"""An ensemble audited by itself: every model is a target in turn, with the other models as its shadows.

m trainings give m audits. Scores of several targets are never pooled: a figure is taken for each target, and the mean
and its interval over targets say what one more training would show. The targets share records and shadows, so the
interval is that of new members and seeds, not of a new data set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from gecko_jax import checks
from gecko_jax.attacks import SIGNALS
from gecko_jax.audit import figures, inputs, thresholds
from gecko_jax.audit.blind import Baselines, baselines
from gecko_jax.audit.chosen import Seen, choose
from gecko_jax.audit.claim import hold_against, judge
from gecko_jax.audit.readings import checked
from gecko_jax.audit.report import Report
from gecko_jax.privacy import Epsilon
from gecko_jax.types import Array


def audit_models(
    logits: Array,
    y: Array,
    member: Array,
    attacks: Iterable | None = None,
    records: Array | None = None,
    epsilon: Epsilon | None = None,
    *,
    x: Array | None = None,
    queries: Sequence[Array] = (),
    probed: Mapping[str, Array] | None = None,
) -> Report:
    """Audits each of m models with the help of the other m - 1.

    Args:
      logits: [m, n, c] outputs of m models on n records, without augmentation.
      y: [n] labels.
      member: [m, n] bool, who was in which model's training set, drawn by independent coins.
      attacks: which; the usual ones that m - 2 shadows suffice for, if None. See `audit`.
      records: int [k], the records to look at, or all.
      epsilon: the guarantee that each model is said to have; a bound from the attacks is then put below it.
      x: records [n, ...], for a classifier of them as a blind baseline; without them there is none.
      queries: further logits [m, n, c], of moved copies of the records, each; attacks average their scores over them.
      probed: signals of `attacks.PROBED` [m, n, ...].

    Returns:
      A Report over m targets: means with Student t intervals, each target's own figures, ROC bands, warnings.

    Raises:
      ClaimRefuted: the bound exceeds `epsilon`.
      ValueError: one model alone, wrong shapes or values, two models with the same members, or fewer than two members
        or non-members of some model.
    """
    own = checked(logits, queries, probed)
    checks.shape("logits", own.logits, (None, None, None))
    models, n, classes = own.logits.shape
    if models < 2:
        raise ValueError(
            f"logits holds {models} model; each target needs another model to choose its threshold on. Train two or "
            "more on members drawn apart, or audit the one alone: audit_model(logits[0], y, member[0])."
        )
    y = inputs.check_labels(y, n, classes)
    checks.shape("member", np.asarray(member), (models, n))
    if records is not None:
        rows = _rows(records, n)
        own, y, member = own.rows(rows), y[rows], np.asarray(member)[:, rows]
        x = x if x is None else np.asarray(x)[rows]
    member = inputs.check_member(member, (models, len(y)))
    chosen = choose(attacks, models - 1, own.probed)
    blind = _blind(x, y, member, own.logits)

    scores, rows_of, notes = {choice.name: [] for choice in chosen}, [{} for _ in range(models)], []
    for choice in chosen:
        every = {s: Seen(v := own.signal(s, y), member, [one[0] for one in v]) for s in choice.signals}
        entries = []
        for target, row in enumerate(rows_of):
            seen = {signal: one.as_target(target) for signal, one in every.items()}
            entry, threshold = thresholds.on_shadows(choice, seen, y, y)
            found = entry(seen[entry.attack.signal])
            row[choice.name] = figures.target_figures(found, member[target], threshold)
            scores[choice.name].append(found)
            entries.append(entry.attack.name)
        if len(choice.entries) > 1:
            times = ", ".join(f"{name} for {entries.count(name)}" for name in sorted(set(entries)))
            notes.append(f"{choice.name}, chosen on the shadows by {choice.metric}: {times} of {models} targets")
    confidence, correct = (SIGNALS[name](own.logits, y) for name in ("confidence", "correct"))
    return Report(
        rows={name: figures.over_targets([row[name] for row in rows_of]) for name in scores},
        targets=tuple(rows_of),
        curves={name: figures.roc_curves(found, member) for name, found in scores.items()},
        histogram=figures.confidence_histogram(confidence, member),
        accuracy=figures.model_accuracies(correct, member),
        members=tuple(member.sum(1).tolist()),
        nonmembers=tuple((~member).sum(1).tolist()),
        threshold=f"best balanced accuracy on the {models - 1} other models, each a fake target",
        warnings=(*blind.warnings, *inputs.check_design(member), *figures.resolution_warnings(member)),
        notes=tuple(notes),
        baselines=blind.found,
        claim=epsilon and hold_against(epsilon, judge(scores), list(scores[judge(scores)]), member),
    )


def _blind(x: Array | None, y: np.ndarray, member: np.ndarray, logits: np.ndarray) -> Baselines:
    """Of the first target: the others' members are drawn as its own are."""
    return baselines(x, y, member[0], SIGNALS["loss"](logits[1:], y), member[1:])


def _rows(records: Array, n: int) -> np.ndarray:
    """`records` as unique indices in 0..n-1."""
    rows = checks.not_empty("records", checks.shape("records", np.asarray(records), (None,)))
    if not np.issubdtype(rows.dtype, np.integer):
        raise ValueError(f"records has dtype {rows.dtype}; expected indices (np.flatnonzero of a mask).")
    if rows.min() < 0 or rows.max() >= n or len(np.unique(rows)) < len(rows):
        raise ValueError(f"records must be distinct indices in 0..{n - 1}; they run {rows.min()}..{rows.max()}.")
    return rows
