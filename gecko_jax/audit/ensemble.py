"""Models that were trained together, audited with all that can be read off them, each a target in turn."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from gecko_jax import checks, training
from gecko_jax.attacks import PROBED
from gecko_jax.audit.many_models import audit_models
from gecko_jax.audit.reading.reader import Asker
from gecko_jax.audit.report.compose import NOTED
from gecko_jax.audit.report.privacy_claim import check_claim
from gecko_jax.audit.report.report import Report
from gecko_jax.audit.scoring.feasible import feasible, left_out
from gecko_jax.audit.scoring.selection import as_list, by_name, choose, not_run
from gecko_jax.audit.validity.containers import as_records
from gecko_jax.privacy import Epsilon
from gecko_jax.trees import take
from gecko_jax.types import Array, Examples, Model, Variables


def audit_ensemble(
    model: Model,
    variables: Variables,
    records: Examples,
    member: Array,
    attacks: Iterable | str | None = None,
    epsilon: Epsilon | None = None,
    *,
    slices: Mapping[str, Array] | None = None,
    batch_size: int = 1024,
) -> Report:
    """Audits each of m models with the help of the other m - 1, by their gradients and answers as well as their logits.

    Args:
      model: of all m.
      variables: theirs, leading axis m, as `training.fit_ensemble` returns them.
      records: n of them, members and non-members.
      member: [m, n] bool, who was in which model's training set, drawn by independent coins.
      attacks: which; every listed one that can run, if None. See `audit`.
      epsilon: the guarantee that each model is said to have; see `audit_models`.
      slices: name -> bool [n], records to look at by themselves, beside the classes.
      batch_size: records in one call of the model.

    Returns:
      The Report of `audit_models`.

    Raises:
      ClaimRefuted: the bound exceeds `epsilon`.
      ValueError: see `audit_models`.
    """
    check_claim(epsilon)
    x, y, ids = as_records(records.x), np.asarray(checks.unmasked("records.y", records.y)), np.asarray(records.id)
    models = len(checks.shape("member", np.asarray(member), (None, len(y))))
    checks.at_least("number of models (rows of member)", models, 2)
    attacks = as_list(attacks)
    asker = Asker(model, True, "logits", batch_size, None, x)
    can_read = asker.offhand if attacks is None else asker.readable
    asked, notes, left = by_name(attacks), [], {}
    chosen = feasible(choose(attacks, models - 1, can_read), asker, asked, notes)
    signals = set().union(*(choice.signals for choice in chosen))
    read = []
    for i in range(models):
        read.append(asker.read(take(variables, i), x, y, signals - set(left), None if asked else left))
    probed = {name: np.stack([one.probed[name] for one in read]) for name in signals - set(left) if name in PROBED}
    notes += [left_out(one.name, left[signal]) for one in chosen for signal in sorted(one.signals & set(left))]
    if isinstance(x, np.ndarray):
        logits = training.predict_ensemble(model, variables, x)  # to the bit what a file of predictions would hold
    else:
        logits = np.stack([one.logits for one in read])
    report = audit_models(logits, y, member, attacks, epsilon=epsilon, x=x, probed=probed, slices=slices, ids=ids)
    why = not_run(attacks, models - 1, can_read, ran=report.rows)
    return dataclasses.replace(
        report,
        notes=(*notes, *report.notes),
        not_run={name: why.get(name, NOTED) for name in report.not_run},
    )
