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
from gecko_jax.audit.report.privacy_claim import FAIR_COINS, privacy_claim
from gecko_jax.audit.report.report import Report
from gecko_jax.audit.scoring.attack_plan import plan_attacks
from gecko_jax.audit.scoring.feasible import of_outputs
from gecko_jax.audit.scoring.versions import (
    check_versions,
    plan_versions,
    signals_of,
    usual_attacks,
    version_readings,
)
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


def audit_versions(
    versions: Mapping[str, Array],
    y: Array,
    member: Array,
    attacks: Iterable | str | None = None,
    *,
    x: Array | None = None,
    slices: Mapping[str, Array] | None = None,
    ids: Array | None = None,
    outputs: str = "logits",
    classes: Sequence | Array | None = None,
) -> Report:
    """Audits several released versions of each of m models, on each version alone and on all together.

    Who releases a model in float and its quantized or pruned copy gives an attacker the outputs of both. Each model is
    a target with the other m - 1 as its shadows, which are made in all versions as it is.

    Args:
      versions: name -> outputs [m, n, c] of that version of the m models on n records; two versions or more.
      y: [n] labels.
      member: [m, n] bool, who was in which model's training set, drawn by independent coins. It is the same for all
        versions: compression does not change what a model was trained on.
      attacks: run on each version ("lira@int8") and on all ("lira@together", a weighted sum of the versions' scores,
        the weights fitted on shadows). None for those of `scoring.versions.USUAL` that m - 2 shadows suffice for.
      x, slices, ids, outputs, classes: see `audit_models`; predicted labels alone are refused.

    Returns:
      A Report whose attacks are named "attack@version".

    Raises:
      ValueError: one version alone, versions of other shapes, outputs of another kind, and what `audit_models` refuses.

    Source: the threat of "CompLeak" (Li et al. 2025), arXiv 2507.16872; the attacks on several versions are ours.

    >>> rng = np.random.default_rng(0)
    >>> y, member = rng.integers(0, 3, 300), rng.random((6, 300)) < 0.5
    >>> logits = rng.normal(size=(6, 300, 3)) + 2 * np.eye(3)[y] * member[..., None]
    >>> report = audit_versions({"float": logits, "rounded": np.round(logits)}, y, member, ["lira_student"])
    >>> list(report.rows)
    ['lira_student@together', 'lira_student@float', 'lira_student@rounded']
    """
    names = check_versions("versions", versions)
    encoded = {}
    for name in names:
        try:
            encoded[name] = encode(versions[name], y, (), None, outputs, classes, np.shape(member)[:1])
        except ValueError as error:
            raise ValueError(f"version {name!r}: {error}") from error
    first = encoded[names[0]]
    for name, one in encoded.items():
        if one.outputs in ("labels", "tokens", "numbers"):
            raise ValueError(f"version {name!r} gives {one.outputs}; expected a classifier's logits or probabilities.")
        if one.readings.model_outputs().shape != first.readings.model_outputs().shape:
            raise ValueError(f"version {name!r} is of other models, records or classes than version {names[0]!r}.")
    models = len(first.readings.model_outputs())
    if models < 2:
        raise ValueError(f"versions are of {models} model; each target needs others as its shadows: train two or more.")
    plan = plan_attacks(usual_attacks(attacks, models - 1), models - 1, first.readings.available)
    signals = signals_of(plan)
    readings = version_readings({name: one.readings for name, one in encoded.items()}, first.y, signals)
    audited = AuditedRecords(inputs.check_member(member, (models, len(first.y))), first.y, x, ids, slices)
    report = audit_each_target(plan_versions(plan, names), readings, audited, FAIR_COINS)
    return name_classes(report, first.classes)
