"""An audit of models that were trained together, each a target in turn, with every signal that can be read off them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from gecko_jax import checks, training
from gecko_jax.audit.audit_targets import audit_each_target
from gecko_jax.audit.reading.encoding import encode
from gecko_jax.audit.reading.model_reader import ModelReader
from gecko_jax.audit.reading.readings import stacked
from gecko_jax.audit.report.privacy_claim import privacy_claim
from gecko_jax.audit.report.report import Report
from gecko_jax.audit.scoring.attack_plan import plan_attacks
from gecko_jax.audit.scoring.feasible import feasible
from gecko_jax.audit.validity import inputs
from gecko_jax.audit.validity.audited_records import AuditedRecords
from gecko_jax.audit.validity.containers import as_records
from gecko_jax.privacy import Epsilon
from gecko_jax.probes.outputs import OTHER_OUTPUTS
from gecko_jax.trees import take
from gecko_jax.types import Array, Examples, Model, Variables


def audit_ensemble(
    model: Model,
    variables: Variables,
    records: Examples,
    member: Array,
    attacks: Iterable | str | None = None,
    claimed_epsilon: Epsilon | None = None,
    *,
    slices: Mapping[str, Array] | None = None,
    outputs: str = "logits",
    batch_size: int = 1024,
) -> Report:
    """Audits each of m models with the other m - 1 as its shadow models, by all signals that can be read off a Model.

    Args:
      model: the architecture that all m models share.
      variables: of all m models, with a leading axis m, as `training.fit_ensemble` returns them.
      records: n of them, members and non-members.
      member: [m, n] bool, who was in which model's training set, drawn by independent coins.
      attacks: the attacks to run; None for every listed attack that can run. See `audit`.
      claimed_epsilon: the guarantee that each model is said to have; see `audit_models`.
      slices: name -> bool [n], records to report separately, beside the classes.
      outputs: what the model gives: "logits", "tokens" (a language model's) or "numbers" (a regression's); see `audit`.
      batch_size: records in one call of the model.

    Returns:
      The Report of `audit_models`.

    Raises:
      ClaimRefuted: the bound exceeds `claimed_epsilon`.
      ValueError: see `audit_models`.

    >>> rng = np.random.default_rng(0)
    >>> member, y = rng.random((3, 200)) < 0.5, rng.integers(0, 3, 200)
    >>> w = rng.normal(size=(3, 200, 3)) + 2 * np.eye(3)[y] * member[:, :, None]  # row i: the logits of record i
    >>> lookup = Model(None, lambda variables, x, **_: (x @ variables["params"]["w"], {}))
    >>> records = Examples(np.eye(200, dtype=np.float32), y, np.arange(200))
    >>> report = audit_ensemble(lookup, {"params": {"w": np.float32(w)}}, records, member, attacks=["loss"])
    >>> 0.8 < report.rows["loss"]["auc"].value < 0.9
    True
    """
    claim = privacy_claim(claimed_epsilon, True)
    x, y, ids = as_records(records.x), np.asarray(checks.unmasked("records.y", records.y)), np.asarray(records.id)
    checks.one_of("outputs", outputs, ("logits", *OTHER_OUTPUTS))
    models = len(checks.shape("member", np.asarray(member), (None, len(y))))
    checks.at_least("number of models (rows of member)", models, 2)
    reader = ModelReader(model, True, outputs, batch_size, None, x)
    plan = plan_attacks(attacks, models - 1, reader.available_signals(by_default=attacks is None))
    plan = feasible(plan, reader)
    errors, parts = {}, []
    for i in range(models):
        signals = plan.signals - set(errors)
        parts.append(reader.read(take(variables, i), x, y, signals, None if plan.by_name else errors))
    if isinstance(x, np.ndarray):
        logits = training.predict_ensemble(model, variables, x)  # to the bit what a file of predictions would hold
    else:
        logits = np.stack([one.outputs for one in parts])
    encoded = encode(logits, y, (), stacked(parts).values, outputs, models=(models,))
    audited = AuditedRecords(inputs.check_member(member, (models, len(y))), encoded.y, x, ids, slices)
    return audit_each_target(plan.without(errors), encoded.readings, audited, claim)
