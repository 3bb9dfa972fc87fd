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
from gecko_jax.audit.reading.class_names import check_columns
from gecko_jax.audit.reading.encoding import entered
from gecko_jax.audit.reading.readings import Readings
from gecko_jax.audit.report.class_labels import named
from gecko_jax.audit.report.compose import compose
from gecko_jax.audit.report.privacy_claim import check_claim
from gecko_jax.audit.report.report import Report
from gecko_jax.audit.scoring import thresholds
from gecko_jax.audit.scoring.feasible import left_out, of_outputs
from gecko_jax.audit.scoring.selection import Choice, Seen, as_list, by_name, choose, not_run
from gecko_jax.audit.validity import inputs
from gecko_jax.audit.validity.blind_baselines import Baselines, baselines
from gecko_jax.audit.validity.containers import as_records, is_numeric, take
from gecko_jax.privacy import Epsilon
from gecko_jax.types import Array


def audit_models(
    logits: Array,
    y: Array,
    member: Array,
    attacks: Iterable | str | None = None,
    records: Array | None = None,
    epsilon: Epsilon | None = None,
    *,
    x: Array | None = None,
    queries: Sequence[Array] = (),
    probed: Mapping[str, Array] | None = None,
    slices: Mapping[str, Array] | None = None,
    ids: Array | None = None,
    outputs: str = "logits",
    classes: Sequence | None = None,
) -> Report:
    """Audits each of m models with the help of the other m - 1.

    Args:
      logits: [m, n, c] outputs of m models on n records, without augmentation; of binary models with one output [m, n]
        or [m, n, 1]; or predicted labels, integers [m, n].
      y: [n] labels.
      member: [m, n] bool, who was in which model's training set, drawn by independent coins.
      attacks: which; every listed one that can run with m - 2 shadows, if None. See `audit`.
      records: int [k], the records to look at, or all.
      epsilon: the guarantee that each model is said to have; a bound from the attacks is then put below it.
      x: records [n, ...], for a classifier of them as a blind baseline (of the first target) and to show the most
        exposed; without them there is neither.
      queries: further logits [m, n, c], of moved copies of the records, each; attacks average their scores over them.
      probed: signals of `attacks.PROBED` [m, n, ...].
      slices: name -> bool [n], records to look at by themselves, beside the classes.
      ids: [n] names of the records.
      outputs: what `logits` and `queries` hold: "logits", "probabilities", or "labels", which integers [m, n] are taken
        for; attacks that read more are then left out.
      classes: the label that each column stands for (scikit-learn's model.classes_), where it is not its number.

    Returns:
      A Report over m targets: means with Student t intervals, each target's own figures, ROC bands, warnings.

    Raises:
      ClaimRefuted: the bound exceeds `epsilon`.
      ValueError: one model alone, wrong shapes or values, two models with the same members, or fewer than two members
        or non-members of some model.
    """
    check_claim(epsilon)
    given = entered(logits, y, queries, probed, outputs, classes, np.shape(member)[:1])
    own, y = given.readings, given.y
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
        x, ids = (part if part is None else take(as_records(part), rows) for part in (x, ids))
        slices = {name: np.asarray(mask)[rows] for name, mask in (slices or {}).items()}
    member = inputs.check_member(member, (models, len(y)))
    attacks = as_list(attacks)
    asked = by_name(attacks)
    chosen, notes = of_outputs(choose(attacks, models - 1, own.probed), given.outputs, asked=asked)
    scores, bounds = {}, {}
    for choice in chosen:
        try:
            found = _of_every_target(choice, own, y, member)
        except (ValueError, ArithmeticError) as error:
            if asked or (choice is chosen[-1] and not scores):
                raise
            notes.append(left_out(choice.name, str(error)))
            continue
        scores[choice.name], bounds[choice.name], entries = found
        if len(choice.entries) > 1:
            times = ", ".join(f"{name} for {entries.count(name)}" for name in sorted(set(entries)))
            notes.append(f"{choice.name}, chosen on the shadows by {choice.metric}: {times} of {models} targets")
    report = compose(
        scores,
        bounds,
        own.logits,
        y,
        member,
        chosen_how=f"best balanced accuracy on the {models - 1} other models, each a fake target",
        blind=_blind(x, y, member, own.logits),
        warnings=[*inputs.check_design(member), *check_columns(own.logits, y, member)],
        notes=notes,
        epsilon=epsilon,
        groups=slices,
        x=x if is_numeric(x) else None,  # only numbers are shown
        ids=ids,
        shadows=models - 1,
        tried={choice.name: choice.needs for choice in chosen if choice.name in scores},
        not_run=not_run(attacks, models - 1, own.probed, ran=scores),
        coins=True,
    )
    return named(report, given.classes)


def _of_every_target(
    choice: Choice, own: Readings, y: np.ndarray, member: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray], list[str]]:
    """(scores, thresholds, names of the attacks that gave them), one for each target."""
    every = {s: Seen(v := own.signal(s, y), member, [one[0] for one in v]) for s in choice.signals}
    scores, bounds, entries = [], [], []
    for target in range(len(member)):
        seen = {signal: one.as_target(target) for signal, one in every.items()}
        entry, threshold = thresholds.on_shadows(choice, seen, y, y)
        scores.append(entry(seen[entry.attack.signal]))
        bounds.append(threshold)
        entries.append(entry.attack.name)
    return scores, bounds, entries


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
