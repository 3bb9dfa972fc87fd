"""A predict function audited on members and non-members, with shadow models made by the recipe that made it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from gecko_jax import checks, keys
from gecko_jax.attacks import Attack
from gecko_jax.audit.inputs import as_logits, check_labels
from gecko_jax.audit.one_model import Shadows, audit_model
from gecko_jax.audit.report import Report
from gecko_jax.datasets import membership
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
        (augmentation, noise, quantisation, early stopping), run once for each shadow.
      pool: what shadows are trained on; a record that is also audited has the same id there.
      shadows: how many shadow models; 0 for none. Each has every row of the pool with probability 1/2.
      key: seed or JAX key of the shadows' members and training; needed with shadows.
      variables: the target's, where predict takes them.
      attacks: which; the usual ones that the shadows suffice for, if None.
      outputs: what predict gives: "logits" or "probabilities".
      batch_size: records in one call of predict.

    Returns:
      A Report of one target. Without shadows AUC, TPRs and ROC need no threshold; the attack accuracy has its own
      fitted on one half of the records and judged on the other, halves swapped.

    Raises:
      ValueError: a record both among members and non-members, by id or by content; outputs of another shape or kind;
        arguments that do not go together.
    """
    checks.at_least("shadows", shadows, 0)
    checks.at_least("batch_size", batch_size, 1)
    if shadows and (recipe is None or pool is None or key is None):
        raise ValueError(f"shadows={shadows} needs recipe=, pool= and key=; leave shadows=0 for an audit without them.")
    if not shadows and (recipe is not None or pool is not None):
        raise ValueError("recipe and pool are for shadow models, and shadows=0; say how many, for example shadows=8.")
    _check_apart(members, nonmembers)
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
        return audit_model(logits, y, member, attacks, x=x)

    rows, extra = _find(Examples(x, y, ids), pool)
    all_x = np.concatenate([np.asarray(pool.x), x[extra]])
    all_y = check_labels(np.concatenate([np.asarray(pool.y), y[extra]]), len(all_x), logits.shape[-1])
    # The draw has its own stream, so that it never repeats the draw that made the target from the same seed.
    seed = int(jax.random.bits(keys.stream(key, "audit", "members"), (), "uint32"))
    drawn = membership.coins(pool.id, shadows, seed)
    made = [_shadow(recipe, drawn[i], keys.stream(key, "audit", "shadow", i), variables) for i in range(shadows)]
    inside = np.concatenate([drawn, np.zeros((shadows, len(extra)), bool)], 1)
    found = Shadows(np.stack([run(one, all_x) for one in made]), inside, all_y, len(pool.y), rows)
    report = audit_model(logits, y, member, attacks, found, x)
    if len(extra):
        text = f"{len(extra)} of {len(y)} audited records are not in the pool, so no shadow was trained on them"
        report = dataclasses.replace(report, warnings=(*report.warnings, text))
    return report


def _shadow(recipe: Callable, drawn: np.ndarray, key: jax.Array, variables: Variables | None) -> Any:
    """What the recipe makes of one draw of members."""
    if drawn.all() or not drawn.any():
        raise ValueError(f"pool has {len(drawn)} rows, too few for coins: a shadow got all of them or none.")
    made = recipe(np.flatnonzero(drawn).astype(np.int32), key)
    if variables is None and not callable(made):
        raise ValueError(
            f"recipe returned {type(made).__name__}, and without variables= it must return a predict function of x. "
            "To return variables, pass the target's as variables= and a predict that takes (variables, x)."
        )
    return made


def _one_output(result: Any, x: np.ndarray) -> np.ndarray:
    if isinstance(result, (tuple, list, dict)):
        raise ValueError(f"predict returned a {type(result).__name__}; expected one array [{len(x)}, classes].")
    return checks.shape("output of predict", np.asarray(result), (len(x), None))


def _digests(x: Array) -> list[bytes]:
    """A name for each row's content; floats compare as float32, and -0 as 0."""
    x = np.asarray(x)
    if x.dtype.kind == "f":
        x = x.astype(np.float32) + np.float32(0)
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in x]


def _check_apart(members: Examples, nonmembers: Examples) -> None:
    """Raises ValueError where a record is among both, for then nothing can tell the two apart."""
    for name, part in (("members", members), ("nonmembers", nonmembers)):
        _check_rows(name, part)
    if np.shape(members.x)[1:] != np.shape(nonmembers.x)[1:]:
        raise ValueError(f"members.x has rows {np.shape(members.x)[1:]}, nonmembers.x {np.shape(nonmembers.x)[1:]}.")
    for what, ours, theirs in (
        ("id", np.asarray(members.id).tolist(), np.asarray(nonmembers.id).tolist()),
        ("content", _digests(members.x), _digests(nonmembers.x)),
    ):
        first = {name: i for i, name in enumerate(ours)}
        shared = [(first[name], j) for j, name in enumerate(theirs) if name in first]
        if shared:
            raise ValueError(
                f"{len(shared)} of the nonmembers are among the members by {what}, the first "
                f"nonmembers[{shared[0][1]}] = members[{shared[0][0]}]; drop them from one of the two."
            )


def _check_rows(name: str, part: Examples) -> None:
    checks.not_empty(f"{name}.y", part.y)
    for field, array in (("x", part.x), ("id", part.id)):
        if len(array) != len(part.y):
            raise ValueError(f"{name}.{field} has {len(array)} rows and {name}.y {len(part.y)}; expected as many.")
    if len(np.unique(part.id)) < len(part.id):
        raise ValueError(f"{name}.id repeats a value; each row needs a name of its own.")


def _find(audited: Examples, pool: Examples) -> tuple[np.ndarray, np.ndarray]:
    """(rows, extra): where each audited record stands in the pool followed by the records `extra` that it lacks."""
    _check_rows("pool", pool)
    if np.shape(pool.x)[1:] != np.shape(audited.x)[1:]:
        raise ValueError(f"pool.x has rows {np.shape(pool.x)[1:]}, the audited records {np.shape(audited.x)[1:]}.")
    place = {name: i for i, name in enumerate(np.asarray(pool.id).tolist())}
    contents = _digests(pool.x)
    by_content = set(contents)
    rows, extra = np.empty(len(audited.id), np.int64), []
    for i, (name, content) in enumerate(zip(audited.id.tolist(), _digests(audited.x), strict=True)):
        if name in place and (contents[place[name]] != content or pool.y[place[name]] != audited.y[i]):
            raise ValueError(f"id {name} names one record in the pool and another among the audited; ids must agree.")
        if name not in place and content in by_content:
            raise ValueError(f"the audited record of id {name} is in the pool under another id; ids must agree.")
        if name not in place:
            extra.append(i)
        rows[i] = place[name] if name in place else len(place) + len(extra) - 1
    return rows, np.array(extra, np.int64)
