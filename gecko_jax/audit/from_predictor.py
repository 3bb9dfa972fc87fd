"""An audit of a predict function on members and non-members, with shadow models from its own recipe."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from gecko_jax import checks
from gecko_jax.audit.audit_targets import audit_one_target
from gecko_jax.audit.reading.class_names import as_classes
from gecko_jax.audit.reading.encoding import check_all_labels, encode_examples, first_answer
from gecko_jax.audit.reading.model_reader import ModelReader
from gecko_jax.audit.reading.recipe_checks import check_recipe, evaluation_doubt
from gecko_jax.audit.reading.recipes import caller, fingerprint
from gecko_jax.audit.reading.shadows import (
    ReadingLog,
    ShadowRecords,
    ShadowTraining,
    locate,
    make_shadows,
)
from gecko_jax.audit.report.class_labels import name_classes
from gecko_jax.audit.report.privacy_claim import privacy_claim
from gecko_jax.audit.report.provenance import key_words
from gecko_jax.audit.report.report import Report
from gecko_jax.audit.scoring.attack_plan import plan_attacks
from gecko_jax.audit.scoring.feasible import feasible
from gecko_jax.audit.scoring.versions import (
    all_versions,
    check_one_query,
    plan_versions,
    released,
    signals_of,
    usual_attacks,
)
from gecko_jax.audit.validity.audited_records import AuditedRecords
from gecko_jax.audit.validity.containers import join, take
from gecko_jax.audit.validity.inputs import check_groups, check_member
from gecko_jax.audit.validity.records import check_apart, check_unseen, named_apart
from gecko_jax.keys import checked_key
from gecko_jax.privacy import Epsilon
from gecko_jax.probes.layouts import LAYOUTS
from gecko_jax.probes.outputs import OTHER_OUTPUTS, OUTPUTS
from gecko_jax.training import Recipe
from gecko_jax.types import Array, Examples, Model, Variables


def audit(
    predict: Callable[..., Array] | Model | Mapping[str, Any] | Sequence[Any],
    members: Examples,
    nonmembers: Examples,
    recipe: Callable[[np.ndarray, jax.Array], Any] | None = None,
    pool: Examples | None = None,
    shadows: int = 0,
    key: int | jax.Array | None = None,
    *,
    variables: Variables | None = None,
    attacks: Iterable | str | None = None,
    queries: Callable[[np.ndarray], list[np.ndarray]] | None = None,
    population: Examples | None = None,
    slices: Callable[[Examples], Mapping[str, Array]] | None = None,
    outputs: str = "logits",
    classes: Sequence | Array | None = None,
    layout: str | None = None,
    batch_size: int | None = None,
    folder: str | os.PathLike[str] | None = None,
    claimed_epsilon: Epsilon | None = None,
    coins: bool | None = None,
) -> Report:
    """Audits one predictor by membership inference.

    There are three ways to name the target. Without `variables`, predict(x) is the target and recipe returns a shadow's
    own predict function. With `variables`, predict(variables, x) is called with them for the target, and with what
    recipe returns for each shadow. If predict is a Model, with `variables`, its gradients are read as
    well.

    Args:
      predict: x [b, ...] -> outputs [b, c], in evaluation mode and without augmentation; or (variables, x) -> the same;
        or a Model. A binary model may have one output [b] or [b, 1]; integers or text [b] are predicted labels. Or
        several of these, {"float": f, "int8": g} or a list: released versions of the one target. recipe then returns
        the same versions of a shadow (or its variables, for all), and attacks have a row for each version ("rmia@int8")
        and one for all together: see `audit_versions`.
      members: records the target was trained on. x may also be a scipy.sparse matrix, a dict of arrays, or text.
      nonmembers: records of the same distribution that it never saw, not even for early stopping or temperature.
      recipe: (int32 [k] rows of `pool`, key) -> variables or a predict function: EVERYTHING that made the target
        (augmentation, noise, quantization, early stopping), run once for each shadow. Or (x, y, key), the rows
        themselves; a last parameter named `seed` or `random_state` gets an int. A `training.Recipe` trains all shadows
        in one compiled program.
      pool: records that shadows are trained on, members and non-members of the target; a record that is also audited
        has the same id there. For a `training.Recipe` it is `recipe.pool`.
      shadows: how many shadow models, 8 or more; 0 for none. Each has every row of the pool with probability 1/2.
      key: seed or JAX key of the shadows' members and training; needed with shadows.
      variables: the target's, if predict takes them.
      attacks: None for every one of `attacks.ATTACKS` whose needs are met (`Attack.needs`), but for the slow ones;
        "all": these as well. Else a list, each an Attack (`attacks.lira()`), the name of a listed one
        ("lira"), or `best_of` several. The report says which did not run, and why.
      queries: x -> copies of x, x itself the first (`probes.flips_and_shifts`): attacks read every signal of the
        logits on each, and average their scores. As the target was trained, if with augmentation.
      population: records of the same distribution that neither the target nor the pool has, beside those audited;
        attacks get each target's own signals of them (`Signals.population`).
      slices: Examples -> name -> bool [n], records to report separately, beside the classes.
      outputs: what predict gives: "logits", "probabilities", or "labels", by which attacks that read labels alone run;
        "tokens", a language model's logits [b, t, v] of the tokens y [b, t] (negative ones do not count), or "numbers",
        a regression's predictions [b, ...] of y [b, ...].
      classes: the label of each column of the outputs (scikit-learn's model.classes_), if not the column's number; y
        may then be text.
      layout: of images, "channels_last" or "channels_first"; "features" if x has four axes and holds no images. If
        None, the layout that the shape suggests; if it suggests none, attacks that move images are left out, with a
        note.
      batch_size: exact number of records in a call of predict, the last call filled up; if None, at most 1024.
      folder: where the shadows' outputs are saved, each as soon as it is made, under a fingerprint of pool, members,
        key, queries, signals, and the code and values of recipe and predict. The same audit reads them, and an
        interrupted one continues. Those of another recipe are not used, which a warning says.
      claimed_epsilon: the guarantee that the target is said to have, as `privacy.private_training(...).epsilon`; the
        report then shows the attacks' lower bound, and a ceiling of every figure. The bound requires that each record
        was a member by a fair coin; there is none for a fixed split.
      coins: whether fair coins drew the members. If None, the report assumes it and says so, unless the number of
        members or their places in the order of the ids show a fixed split.

    Returns:
      A Report of one target. AUC, TPRs and ROC need no threshold; without shadows, that of the attack accuracy is
      fitted on one half of the records and judged on the other, and the halves are swapped.

    Raises:
      ClaimRefuted: the bound exceeds `claimed_epsilon`.
      ValueError: a record among both members and non-members, by id or by content; a pool that holds one kind and lacks
        the other; outputs of another shape or kind; incompatible arguments.

    >>> x, y = np.random.default_rng(0).normal(size=(80, 2)), np.arange(80) % 2
    >>> known, unknown = (Examples(x[rows], y[rows], rows) for rows in np.arange(80).reshape(2, 40))
    >>> seen = {row.tobytes(): label for row, label in zip(known.x, known.y)}
    >>> report = audit(lambda x: np.array([seen.get(row.tobytes(), 0) for row in x]), known, unknown)
    >>> report.rows["gap"]["auc"].value  # members are all right, half of the others are
    0.75
    """
    checks.integer("shadows", shadows, 0)
    claim = privacy_claim(claimed_epsilon, coins)
    checks.one_of("outputs", outputs, (*OUTPUTS, *OTHER_OUTPUTS))
    if layout is not None:
        checks.one_of("layout", layout, LAYOUTS)
    size = 1024 if batch_size is None else checks.integer("batch_size", batch_size, 1)
    versions, predict = released(predict)
    if not (callable(predict) or isinstance(predict, Model) or versions):
        raise ValueError(f"predict is a {type(predict).__name__}; expected a function of x, such as its predict_proba.")
    if shadows and (recipe is None or pool is None or key is None):
        raise ValueError(f"shadows={shadows} needs recipe=, pool= and key=; leave shadows=0 for an audit without them.")
    if key is not None:
        checked_key("key", key)
    if not shadows and (recipe is not None or pool is not None):
        raise ValueError("recipe and pool are for shadow models, and shadows=0; say how many, for example shadows=8.")
    each = list(predict.values()) if isinstance(predict, Mapping) else [predict]
    if variables is None and any(isinstance(one, Model) for one in each):
        raise ValueError("predict is a Model, which needs the target's variables=: audit(model, ..., variables=mine).")
    population = population if population is None else named_apart(population, members, nonmembers, pool)
    nonmembers = named_apart(nonmembers, members)
    check_apart(members, nonmembers)
    names = as_classes(classes)
    if names is not None and outputs in OTHER_OUTPUTS:
        raise ValueError(f"classes= names the columns of a classifier, and outputs={outputs!r}; leave it out.")
    known = encode_examples("members", members, names)
    pool_given = None if pool is None else encode_examples("pool", pool, names)
    population = None if population is None else encode_examples("population", population, names)
    unknown = encode_examples("nonmembers", nonmembers, names)
    x = join([known.x, unknown.x])
    y, ids = (np.concatenate(parts) for parts in ((known.y, unknown.y), (known.id, unknown.id)))
    audited, member = Examples(x, y, ids), check_member(np.arange(len(y)) < len(known.y), (len(y),))
    if population is not None:
        check_unseen(population, audited, pool)
    how = where = None
    if recipe is not None and pool is not None and pool_given is not None and key is not None:  # shadows > 0
        where = locate(recipe, audited, member, pool_given)
        how = ShadowTraining(_maker(recipe, pool, predict, variables, folder), pool_given, shadows, key, folder)
    original = Examples(x, np.concatenate([members.y, nonmembers.y]), ids)
    groups = check_groups(slices(original), len(y)) if slices else None
    fixed = batch_size is not None
    reader = ModelReader(predict, variables is not None, outputs, size, queries, x, layout, fixed, names, versions)
    if versions:
        check_one_query(queries, outputs, names)
        attacks = usual_attacks(attacks, shadows)
    target = predict if variables is None else variables
    reader.copies(take(x, slice(0, 1)))  # queries that do not fit are refused before a model is asked
    plan = plan_attacks(attacks, shadows, reader.available_signals(by_default=attacks is None), population is not None)
    if shadows and not plan.by_name and not any(choice.shadows for choice in plan.choices):
        raise ValueError(
            f"shadows={shadows} runs no attack that reads shadow models: a shadow that stands in for the target leaves "
            f"{shadows - 1}. Train more, for example shadows=8, or leave shadows=0."
        )
    if plan.by_name:
        feasible(plan, reader)  # what was asked for by name is refused before a model is asked
    notes, warnings, errors = [], [], {}
    reader, columns = first_answer(reader, target, audited, (pool_given, population), notes)
    y = check_all_labels(columns, audited, pool_given, population)
    y = y.astype(np.float64) if reader.kind == "numbers" else y
    plan = feasible(plan._replace(notes=notes), reader)

    tolerated = None if plan.by_name else errors
    readings, of_shadows = reader.read(target, x, y, plan.signals, tolerated), None
    if doubt := evaluation_doubt(reader, target, x, readings):
        warnings.append(doubt)
    if how is not None and where is not None:
        on = ShadowRecords(audited._replace(y=y), *where, population)
        read = plan.signals - set(errors)
        of_shadows = make_shadows(how, on, reader, read, columns, ReadingLog(tolerated, warnings))
    unseen = None
    if population is not None:
        unseen = reader.read(target, population.x, population.y, plan.signals - set(errors), tolerated), population.y
    records = AuditedRecords(member[None], y, x, ids, groups)
    if versions:
        readings, of_shadows, unseen = all_versions(versions, signals_of(plan), y, (readings, of_shadows, unseen))
        plan = plan_versions(plan, versions)
    report = audit_one_target(plan.without(errors), readings, records, of_shadows, unseen, claim)
    warnings += [*(check_recipe(of_shadows) if of_shadows else ()), *report.warnings]
    if where is not None and (extra := len(where[1])):
        warnings.append(f"{extra} of {len(y)} audited records are not in the pool, so no shadow was trained on them.")
    made_by = {**report.provenance, "key": key_words(key)}
    return name_classes(dataclasses.replace(report, warnings=tuple(warnings), provenance=made_by), names)


def _maker(recipe, pool: Examples, predict, variables, folder) -> Callable[..., Any]:
    """Returns the recipe as a function of (rows, key), with a fingerprint of everything that its shadows depend on."""
    if folder is not None:
        os.makedirs(folder, exist_ok=True)  # a folder that cannot be written to is told before a shadow is trained
    if isinstance(recipe, Recipe):
        if variables is None:
            raise ValueError("recipe makes variables: pass the target's as variables= and a predict of (variables, x).")
        return recipe
    make = caller(recipe, pool)
    make.fingerprint = fingerprint(recipe, predict if variables is not None else None)
    return make
