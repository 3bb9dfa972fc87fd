"""A predictor audited on members and non-members, with shadow models made by the recipe that made it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from gecko_jax import checks
from gecko_jax.audit.asking import Asker
from gecko_jax.audit.chosen import choose
from gecko_jax.audit.inputs import check_labels
from gecko_jax.audit.one_model import audit_model
from gecko_jax.audit.records import check_apart, check_unseen
from gecko_jax.audit.report import Report
from gecko_jax.audit.shadows import doubts, make_shadows
from gecko_jax.privacy import Epsilon
from gecko_jax.types import Array, Examples, Model, Variables


def audit(
    predict: Callable[..., Array] | Model,
    members: Examples,
    nonmembers: Examples,
    recipe: Callable[[np.ndarray, jax.Array], Any] | None = None,
    pool: Examples | None = None,
    shadows: int = 0,
    key: int | jax.Array | None = None,
    *,
    variables: Variables | None = None,
    attacks: Iterable | None = None,
    queries: Callable[[np.ndarray], list[np.ndarray]] | None = None,
    population: Examples | None = None,
    slices: Callable[[Examples], Mapping[str, Array]] | None = None,
    outputs: str = "logits",
    batch_size: int = 1024,
    folder: str | os.PathLike[str] | None = None,
    epsilon: Epsilon | None = None,
) -> Report:
    """Audits one predictor by membership inference.

    Three ways to say what the target is. Without `variables`, predict(x) is the target and recipe returns a shadow's
    own predict function. With `variables`, predict(variables, x) is called with them for the target, and with what
    recipe returns for each shadow. A Model in predict's place, with `variables`, is asked as it is, and its gradients
    are read as well.

    Args:
      predict: x [b, ...] -> outputs [b, c], in evaluation mode and without augmentation; or (variables, x) -> the same;
        or a Model.
      members: records the target was trained on.
      nonmembers: records of the same distribution that it never saw, not for early stopping or temperature either.
      recipe: (int32 [k] rows of `pool`, key) -> variables or a predict function: ALL of how the target was made
        (augmentation, noise, quantisation, early stopping), run once for each shadow. A `training.Recipe` trains all
        shadows in one compiled program.
      pool: what shadows are trained on, members and non-members of the target; a record that is also audited has the
        same id there. For a `training.Recipe` its own.
      shadows: how many shadow models; 0 for none. Each has every row of the pool with probability 1/2.
      key: seed or JAX key of the shadows' members and training; needed with shadows.
      variables: the target's, where predict takes them.
      attacks: which; the usual ones for what there is, if None. Each is an Attack (`attacks.lira()`), `best_of`
        several, or, with `population`, a factory (`attacks.rmia`) that is built on each target's own population.
      queries: x -> copies of x, x itself the first (`audit.probes.flips_and_shifts`): attacks read every signal of the
        logits on each, and average their scores. As the target was trained, if with augmentation.
      population: records of the same distribution that neither the target nor the pool has, beside those audited.
      slices: Examples -> name -> bool [n]: records to look at by themselves, beside the classes.
      outputs: what predict gives: "logits" or "probabilities".
      batch_size: records in one call of predict.
      folder: where the shadows' outputs are kept, each as soon as it is made, under what it was made of (pool, members,
        key, queries and what else is asked; not the recipe and predict, which have no contents: one folder for each
        pair). The same audit reads them, and one that was killed goes on.
      epsilon: the guarantee that the target is said to have, for example `privacy.private_training(...).epsilon`; a
        bound from the attacks is put below it. Each record must have been a member by a fair coin.

    Returns:
      A Report of one target. Without shadows AUC, TPRs and ROC need no threshold; the attack accuracy has its own
      fitted on one half of the records and judged on the other, halves swapped.

    Raises:
      ClaimRefuted: the bound exceeds `epsilon`.
      ValueError: a record both among members and non-members, by id or by content; a pool that holds the one kind and
        lacks the other; outputs of another shape or kind; arguments that do not go together.
    """
    checks.whole("shadows", shadows, 0)
    checks.whole("batch_size", batch_size, 1)
    if not (callable(predict) or isinstance(predict, Model)):
        raise ValueError(f"predict is a {type(predict).__name__}; expected a function of x, such as its predict_proba.")
    if shadows and (recipe is None or pool is None or key is None):
        raise ValueError(f"shadows={shadows} needs recipe=, pool= and key=; leave shadows=0 for an audit without them.")
    if not shadows and (recipe is not None or pool is not None):
        raise ValueError("recipe and pool are for shadow models, and shadows=0; say how many, for example shadows=8.")
    if isinstance(predict, Model) and variables is None:
        raise ValueError("predict is a Model, which needs the target's variables=: audit(model, ..., variables=mine).")
    check_apart(members, nonmembers)
    x, y, ids = (np.concatenate([np.asarray(a), np.asarray(b)]) for a, b in zip(members, nonmembers, strict=True))
    if population is not None:
        check_unseen(population, Examples(x, y, ids), pool)
    member = np.arange(len(y)) < len(members.y)
    asker = Asker(predict, variables is not None, outputs, batch_size, queries, x)
    chosen = choose(attacks, shadows, asker.offhand if attacks is None else asker.readable, population is not None)
    signals = set().union(*(choice.signals for choice in chosen))

    made = predict if variables is None else variables
    classes = asker.logits(made, x[:1]).shape[-1]
    y = check_labels(y, len(x), classes)
    own, found, extra = asker.read(made, x, y, signals), None, 0
    if shadows:
        audited = Examples(x, y, ids)
        found, extra = make_shadows(
            recipe, asker, signals, audited, member, pool, shadows, key, folder, population
        )
    unseen = None
    if population is not None:
        labels = check_labels(population.y, len(population.y), classes)
        unseen = asker.read(made, np.asarray(population.x), labels, signals), labels
    report = audit_model(
        own.logits,
        y,
        member,
        attacks,
        found,
        x,
        epsilon,
        queries=own.queries,
        probed=own.probed,
        population=unseen,
        slices=slices and slices(Examples(x, y, ids)),
        ids=ids,
    )
    said = [*(doubts(found) if found else ()), *report.warnings]
    if extra:
        said.append(f"{extra} of {len(y)} audited records are not in the pool, so no shadow was trained on them")
    return dataclasses.replace(report, warnings=tuple(said))
