"""A predict function audited on members and non-members, with shadow models made by the recipe that made it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from gecko_jax import checks
from gecko_jax.attacks import Attack
from gecko_jax.audit.inputs import as_logits, check_labels
from gecko_jax.audit.one_model import audit_model
from gecko_jax.audit.records import check_apart
from gecko_jax.audit.report import Report
from gecko_jax.audit.shadows import doubts, make_shadows
from gecko_jax.privacy import Epsilon
from gecko_jax.types import Array, Examples, Variables


def audit(
    predict: Callable[..., Array],
    members: Examples,
    nonmembers: Examples,
    recipe: Callable[[np.ndarray, jax.Array], Any] | None = None,
    pool: Examples | None = None,
    shadows: int = 0,
    key: int | jax.Array | None = None,
    *,
    variables: Variables | None = None,
    attacks: Iterable[Attack] | None = None,
    outputs: str = "logits",
    batch_size: int = 1024,
    folder: str | os.PathLike[str] | None = None,
    epsilon: Epsilon | None = None,
) -> Report:
    """Audits one predictor by black-box membership inference.

    Two ways to say what the target is. Without `variables`, predict(x) is the target and recipe returns a shadow's own
    predict function. With `variables`, predict(variables, x) is called with them for the target, and with what recipe
    returns for each shadow.

    Args:
      predict: x [b, ...] -> outputs [b, c], in evaluation mode and without augmentation; or (variables, x) -> outputs.
      members: records the target was trained on.
      nonmembers: records of the same distribution that it never saw, not for early stopping or temperature either.
      recipe: (int32 [k] rows of `pool`, key) -> variables or a predict function: ALL of how the target was made
        (augmentation, noise, quantisation, early stopping), run once for each shadow. A `training.Recipe` trains all
        shadows in one compiled program.
      pool: what shadows are trained on; a record that is also audited has the same id there.
      shadows: how many shadow models; 0 for none. Each has every row of the pool with probability 1/2.
      key: seed or JAX key of the shadows' members and training; needed with shadows.
      variables: the target's, where predict takes them.
      attacks: which; the usual ones that the shadows suffice for, if None.
      outputs: what predict gives: "logits" or "probabilities".
      batch_size: records in one call of predict.
      folder: where the shadows' outputs are kept, each as soon as it is made, under what it was made of (pool, members,
        key; not the recipe: one folder for one recipe). The same audit reads them, and one that was killed goes on.
      epsilon: the guarantee that the target is said to have, for example `privacy.private_training(...).epsilon`; a
        bound from the attacks is put below it. Each record must have been a member by a fair coin.

    Returns:
      A Report of one target. Without shadows AUC, TPRs and ROC need no threshold; the attack accuracy has its own
      fitted on one half of the records and judged on the other, halves swapped.

    Raises:
      ClaimRefuted: the bound exceeds `epsilon`.
      ValueError: a record both among members and non-members, by id or by content; outputs of another shape or kind;
        arguments that do not go together.
    """
    checks.at_least("shadows", shadows, 0)
    checks.at_least("batch_size", batch_size, 1)
    if shadows and (recipe is None or pool is None or key is None):
        raise ValueError(f"shadows={shadows} needs recipe=, pool= and key=; leave shadows=0 for an audit without them.")
    if not shadows and (recipe is not None or pool is not None):
        raise ValueError("recipe and pool are for shadow models, and shadows=0; say how many, for example shadows=8.")
    check_apart(members, nonmembers)
    x, y, ids = (np.concatenate([np.asarray(a), np.asarray(b)]) for a, b in zip(members, nonmembers, strict=True))
    member = np.arange(len(y)) < len(members.y)

    def run(made: Any, x: np.ndarray) -> np.ndarray:
        """Logits of the target or of a shadow, in batches."""
        call = made if variables is None else lambda rows: predict(made, rows)
        parts = [_one_output(call(x[i : i + batch_size]), x[i : i + batch_size]) for i in range(0, len(x), batch_size)]
        return as_logits("outputs of predict", np.concatenate(parts), outputs)

    logits = run(predict if variables is None else variables, x)
    y = check_labels(y, *logits.shape)
    if not shadows:
        return audit_model(logits, y, member, attacks, x=x, epsilon=epsilon)

    found, extra = make_shadows(recipe, run, Examples(x, y, ids), pool, shadows, key, variables is not None, folder)
    report = audit_model(logits, y, member, attacks, found, x, epsilon)
    said = [*doubts(found), *report.warnings]
    if extra:
        said.append(f"{extra} of {len(y)} audited records are not in the pool, so no shadow was trained on them")
    return dataclasses.replace(report, warnings=tuple(said))


def _one_output(result: Any, x: np.ndarray) -> np.ndarray:
    if isinstance(result, (tuple, list, dict)):
        raise ValueError(f"predict returned a {type(result).__name__}; expected one array [{len(x)}, classes].")
    return checks.shape("output of predict", np.asarray(result), (len(x), None))
