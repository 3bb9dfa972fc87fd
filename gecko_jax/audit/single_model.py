"""An audit of one model: with shadow models if there are any, otherwise by split halves of its records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gecko_jax.audit.audit_targets import audit_one_target
from gecko_jax.audit.reading.encoding import encode, encode_population
from gecko_jax.audit.reading.readings import Readings
from gecko_jax.audit.reading.recipe_checks import Shadows
from gecko_jax.audit.report.class_labels import name_classes
from gecko_jax.audit.report.privacy_claim import privacy_claim
from gecko_jax.audit.report.report import Report
from gecko_jax.audit.scoring.attack_plan import plan_attacks
from gecko_jax.audit.scoring.feasible import of_outputs
from gecko_jax.audit.validity import inputs
from gecko_jax.audit.validity.audited_records import AuditedRecords
from gecko_jax.privacy import Epsilon
from gecko_jax.types import Array


def audit_model(
    logits: Array,
    y: Array,
    member: Array,
    attacks: Iterable | str | None = None,
    shadows: Shadows | None = None,
    x: Array | None = None,
    claimed_epsilon: Epsilon | None = None,
    *,
    queries: Sequence[Array] = (),
    probed: Mapping[str, Array] | None = None,
    population: tuple[Readings | Array, Array] | None = None,
    slices: Mapping[str, Array] | None = None,
    ids: Array | None = None,
    outputs: str = "logits",
    classes: Sequence | Array | None = None,
    coins: bool | None = None,
) -> Report:
    """Audits one model from its outputs.

    Args:
      logits: [n, c] outputs on n records, without augmentation; of a binary model with one output [n] or [n, 1]; or
        predicted labels, integers [n]; or other outputs, as `outputs` says.
      y: [n] labels; tokens [n, t] or numbers [n, ...] for other outputs.
      member: [n] bool, who was in the training set.
      attacks: the attacks to run; None for every listed attack that can run on what there is. See `audit`.
      shadows: outputs of shadow models. None: the attack accuracy then comes from split halves of the records.
      x: records [n, ...]; the blind baseline reads them and the most exposed are shown. None omits both.
      claimed_epsilon: the guarantee that the model is said to have. The report compares the attacks' bound with it,
        which requires that each record was a member by a fair coin.
      queries: further logits [n, c], of moved copies of the records, each; attacks average their scores over them.
      probed: name of a signal that needs the model -> its values [n, ...].
      population: the same outputs [z, c] of z other records, that the model was not trained on, and their labels [z].
        With shadows, readings in place of outputs, because those of the shadows are among theirs.
      slices: name -> bool [n], records to report separately, beside the classes.
      ids: [n] names of the records.
      outputs: what `logits` and `queries` hold: "logits", "probabilities", or "labels", which integers [n] are taken
        for; "tokens", a language model's logits [n, t, v], or "numbers", a regression's predictions [n, ...]. Attacks
        run on the signals of these; those that read more are left out.
      classes: the label that each column stands for (scikit-learn's model.classes_), if it is not the column's number.
      coins: whether each record was a member by a fair coin, as `claimed_epsilon` needs; see `audit`.

    Returns:
      A Report of one target, intervals over its records: one model is one draw, and they do not say how much another
      training would differ.

    Raises:
      ClaimRefuted: the bound exceeds `claimed_epsilon`.
      ValueError: wrong shapes or values, or fewer than two members or non-members.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y, member = rng.integers(0, 3, 200), rng.random(200) < 0.5
    >>> logits = rng.normal(size=(200, 3)) + 2 * np.eye(3)[y] * member[:, None]
    >>> 0.8 < audit_model(logits, y, member, attacks=["loss"]).rows["loss"]["auc"].value < 0.9
    True
    """
    claim = privacy_claim(claimed_epsilon, coins)
    encoded = encode(logits, y, queries, probed, outputs, classes)
    readings, y = encoded.readings, encoded.y
    count = 0 if shadows is None else len(shadows.member)
    if shadows is not None and population is not None and not isinstance(population[0], Readings):
        raise ValueError("population= holds outputs of the target alone; with shadows, give readings of both.")
    unseen = encode_population(population, encoded)
    plan = plan_attacks(attacks, count, readings.available, unseen is not None)
    plan = of_outputs(plan, encoded.outputs)
    member = inputs.check_member(member, (len(y),))
    audited = AuditedRecords(member[None], y, x, ids, slices)
    return name_classes(audit_one_target(plan, readings, audited, shadows, unseen, claim), encoded.classes)
