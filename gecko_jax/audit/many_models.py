"""An ensemble audited by itself: every model is a target in turn, with the other models as its shadows.

m trainings give m audits. Scores of several targets are never pooled: a figure is taken for each target, and the mean
and its interval over targets say what one more training would show. The targets share records and shadows, so the
interval is that of new members and seeds, not of a new data set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from gecko_jax import checks
from gecko_jax.audit.audit_targets import audit_each_target
from gecko_jax.audit.reading.encoding import encode, encode_population
from gecko_jax.audit.report.class_labels import name_classes
from gecko_jax.audit.report.privacy_claim import privacy_claim
from gecko_jax.audit.report.report import Report
from gecko_jax.audit.scoring.attack_plan import plan_attacks
from gecko_jax.audit.scoring.feasible import of_outputs
from gecko_jax.audit.validity import inputs
from gecko_jax.audit.validity.audited_records import AuditedRecords
from gecko_jax.audit.validity.containers import as_records, take
from gecko_jax.privacy import Epsilon
from gecko_jax.types import Array


def audit_models(
    logits: Array,
    y: Array,
    member: Array,
    attacks: Iterable | str | None = None,
    records: Array | None = None,
    claimed_epsilon: Epsilon | None = None,
    *,
    x: Array | None = None,
    queries: Sequence[Array] = (),
    probed: Mapping[str, Array] | None = None,
    population: tuple[Array, Array] | None = None,
    slices: Mapping[str, Array] | None = None,
    ids: Array | None = None,
    outputs: str = "logits",
    classes: Sequence | Array | None = None,
) -> Report:
    """Audits each of m models with the help of the other m - 1.

    Args:
      logits: [m, n, c] outputs of m models on n records, without augmentation; of binary models with one output [m, n]
        or [m, n, 1]; or predicted labels, integers [m, n]; or other outputs, as `outputs` says.
      y: [n] labels; tokens [n, t] or numbers [n, ...] for other outputs.
      member: [m, n] bool, who was in which model's training set, drawn by independent coins.
      attacks: the attacks to run; None for every listed attack that can run with m - 2 shadows. See `audit`.
      records: int [k], the records to look at, or all.
      claimed_epsilon: the guarantee that each model is said to have. The report compares the attacks' bound with it.
      x: records [n, ...]. A classifier of them is the blind baseline (of the first target), and the most exposed are
        shown; None omits both.
      queries: further logits [m, n, c], of moved copies of the records, each; attacks average their scores over them.
      probed: name of a signal that needs the model -> its values [m, n, ...].
      population: the same outputs [m, z, c] of z other records, that none of the models was trained on, and their
        labels [z]: RMIA and others compare with them.
      slices: name -> bool [n], records to report separately, beside the classes.
      ids: [n] names of the records.
      outputs: what `logits` and `queries` hold: "logits", "probabilities", or "labels", which integers [m, n] are taken
        for; "tokens", language models' logits [m, n, t, v], or "numbers", regressions' predictions [m, n, ...]. Attacks
        run on the signals of these; those that read more are left out.
      classes: the label that each column stands for (scikit-learn's model.classes_), if it is not the column's number.

    Returns:
      A Report over m targets: means with Student t intervals, each target's own figures, ROC bands, warnings.

    Raises:
      ClaimRefuted: the bound exceeds `claimed_epsilon`.
      ValueError: one model alone, wrong shapes or values, two models with the same members, or fewer than two members
        or non-members of some model.

    >>> rng = np.random.default_rng(0)
    >>> y, member = rng.integers(0, 3, 200), rng.random((4, 200)) < 0.5
    >>> logits = rng.normal(size=(4, 200, 3)) + 2 * np.eye(3)[y] * member[..., None]
    >>> report = audit_models(logits, y, member, attacks=["lira"])
    >>> len(report.targets), report.rows["lira"]["auc"].low > 0.7
    (4, True)
    """
    claim = privacy_claim(claimed_epsilon, True)
    encoded = encode(logits, y, queries, probed, outputs, classes, np.shape(member)[:1])
    readings, y = encoded.readings, encoded.y
    models, n = len(readings.model_outputs()), len(y)
    if models < 2:
        raise ValueError(
            f"logits holds {models} model; each target needs another model to choose its threshold on. Train two or "
            "more on members drawn apart, or audit the one alone: audit_model(logits[0], y, member[0])."
        )
    checks.shape("member", np.asarray(member), (models, n))
    unseen = encode_population(population, encoded, (models,))
    if records is not None:
        rows = _rows(records, n)
        readings, y, member = readings.rows(rows), y[rows], np.asarray(member)[:, rows]
        x, ids = (part if part is None else take(as_records(part), rows) for part in (x, ids))
        slices = {name: np.asarray(mask)[rows] for name, mask in (slices or {}).items()}
    audited = AuditedRecords(inputs.check_member(member, (models, len(y))), y, x, ids, slices)
    plan = of_outputs(plan_attacks(attacks, models - 1, readings.available, unseen is not None), encoded.outputs)
    return name_classes(audit_each_target(plan, readings, audited, claim, unseen), encoded.classes)


def _rows(records: Array, n: int) -> np.ndarray:
    """Returns `records` as unique indices in 0..n-1."""
    rows = checks.not_empty("records", checks.shape("records", np.asarray(records), (None,)))
    if not np.issubdtype(rows.dtype, np.integer):
        raise ValueError(f"records has dtype {rows.dtype}; expected indices (np.flatnonzero of a mask).")
    if rows.min() < 0 or rows.max() >= n or len(np.unique(rows)) < len(rows):
        raise ValueError(f"records must be distinct indices in 0..{n - 1}; they run {rows.min()}..{rows.max()}.")
    return rows
