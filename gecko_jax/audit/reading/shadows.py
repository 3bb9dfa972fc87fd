"""Shadow models of a target: members drawn by coins, the target's own recipe, and their outputs, kept if asked for."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from gecko_jax import checks, keys, metrics, trees
from gecko_jax.audit.reading.reader import Asker
from gecko_jax.audit.reading.readings import Readings, stacked
from gecko_jax.audit.validity.containers import as_records, join, take
from gecko_jax.audit.validity.evaluation_mode import unsteady
from gecko_jax.audit.validity.records import check_pool, find
from gecko_jax.datasets import membership
from gecko_jax.digests import row_digests, value_digest
from gecko_jax.files import read_arrays, write_atomic
from gecko_jax.probes.records import check_labels
from gecko_jax.signals import SIGNALS, Signal
from gecko_jax.training import Recipe
from gecko_jax.types import Examples


class Shadows(NamedTuple):
    """What was read off s shadow models on u records: first the p of the pool that members came from, then others.

    Attributes:
      readings: of the s models on the u records.
      member: [s, u] bool; False beyond the pool.
      y: [u] labels.
      pool: p. Thresholds are chosen on these.
      rows: int [n], where each of the target's records stands among the u.
      unseen: int [z], where each of the population's stands.
    """

    readings: Readings
    member: np.ndarray
    y: np.ndarray
    pool: int
    rows: np.ndarray
    unseen: np.ndarray | slice = slice(0, 0)


def place(recipe: Callable[..., Any], audited: Examples, member: np.ndarray, pool: Examples) -> tuple:
    """Returns (rows, extra) of `records.find`, before any model is asked or made.

    Raises:
      ValueError: a pool that is not the recipe's, or that holds members and non-members in unlike shares.
    """
    rows, extra = find(audited, pool)
    check_pool(member, extra)
    if isinstance(recipe, Recipe) and not _same(recipe.pool, pool):
        raise ValueError("pool is not recipe.pool, of whose rows the recipe trains; pass pool=recipe.pool.")
    return rows, extra


def make_shadows(
    recipe: Callable[..., Any],
    asker: Asker,
    signals: Collection[Signal],
    audited: Examples,
    where: tuple[np.ndarray, np.ndarray],
    pool: Examples,
    count: int,
    key: int | jax.Array,
    folder: str | os.PathLike[str] | None = None,
    population: Examples | None = None,
    classes: int | None = None,
    left: dict[Signal, str] | None = None,
    said: list[str] | None = None,
) -> Shadows:
    """Trains shadows and reads them on the pool, on the audited records that it lacks, and on the population.

    Args:
      recipe, pool, key, folder, population: see `audit`; labels are class numbers, and a recipe that is not a
        `training.Recipe` takes (rows, key) and has its fingerprint as an attribute, if outputs are to be kept.
      asker: reads what the recipe made.
      signals: that attacks will need.
      audited: the target's records.
      where: of `place`.
      count: of shadows.
      classes: columns of the target's outputs, which every shadow must have.
      left: signals that cannot be read are put here, with the reason; None to raise it.
      said: warnings are put here.

    Returns:
      The shadows.

    Raises:
      ValueError: a pool too small for coins; a shadow with other columns than the target, as soon as it is made.
    """
    said, (rows, extra) = [] if said is None else said, where
    none = slice(0, 0)
    unseen = Examples(take(audited.x, none), audited.y[none], audited.id[none]) if population is None else population
    x = join([as_records(pool.x), take(audited.x, extra), as_records(unseen.x)])
    y = np.concatenate([np.asarray(pool.y), audited.y[extra], np.asarray(unseen.y)])
    # The draw has its own stream, so that it never repeats the draw that made the target from the same seed.
    seed = int(jax.random.bits(keys.stream(key, "audit", "members"), (), "uint32"))
    drawn = membership.coins(pool.id, count, seed)
    for row in drawn:
        if row.all() or not row.any():
            raise ValueError(f"pool has {len(row)} rows, too few for coins: a shadow got all of them or none.")
    key = keys.stream(key, "audit", "shadow")
    if isinstance(recipe, Recipe):
        place = folder and Path(folder) / f"fit-{value_digest(drawn, pool.x, pool.y, jax.random.key_data(key))}"
        together = recipe.ensemble(drawn, key, place)
        found = [asker.read(trees.take(together, i), x, y, signals, left) for i in range(count)]
    else:
        found = _one_by_one(recipe, asker, signals, x, y, drawn, key, folder, classes, left, said)
    readings = stacked(found)
    if classes is not None:
        checks.shape("outputs of the recipe's models", readings.logits, (None, None, classes))
    inside = np.concatenate([drawn, np.zeros((count, len(y) - len(pool.y)), bool)], 1)
    labels = check_labels(y, len(y), readings.logits.shape[-1])
    beyond = slice(len(y) - len(unseen.y), len(y))
    return Shadows(readings, inside, labels, len(pool.y), rows, beyond)


def _one_by_one(recipe, asker: Asker, signals, x, y, drawn, key, folder, classes, left, said) -> list[Readings]:
    """What is read off each shadow, or was read: from the folder, where it stands there already.

    One whose rows lack a class comes first, so that a model which drops the class's column is known by the first.
    """
    asked = folder and f"{value_digest(x, y)}-{asker.fingerprint(x, signals)}"
    labels = [len(np.unique(y[: drawn.shape[1]][row])) for row in drawn]
    found, others = [None] * len(drawn), 0
    for i in np.argsort(labels, kind="stable"):
        row, own = drawn[i], jax.random.fold_in(key, int(i))
        start = folder and f"shadow-{asked}-{value_digest(row, jax.random.key_data(own))}"
        name = folder and Path(folder) / f"{start}-{recipe.fingerprint}.npz"
        one = _read(name, signals, asker, x) if name else None
        if one is None:
            others += bool(name) and any(path != name for path in Path(folder).glob(f"{start}-*.npz"))
            one = _make(recipe, asker, signals, x, y, row, own, None if any(found) else said, left)
            if name:
                write_atomic(name, _as_file(one))
        if classes is not None and one.logits.shape[-1] != classes:
            raise ValueError(
                f"a shadow's outputs have {one.logits.shape[-1]} columns and the target's {classes}: its {row.sum()} "
                f"rows of the pool have {labels[i]} of {len(np.unique(y))} classes. Return a column for every class, 0 "
                "for those that a model has not seen: probs = np.zeros((len(x), classes)); probs[:, model.classes_] = "
                "model.predict_proba(x)."
            )
        found[i] = one
    if others:
        said.append(
            f"the folder keeps {others} shadows that were made for these members by another recipe or predict (its "
            "code, or a value that it holds, is not the same); they were not used, and new ones were made"
        )
    return found


def _make(recipe, asker: Asker, signals, x, y, row, key, said: list[str] | None, left) -> Readings:
    made = recipe(np.flatnonzero(row).astype(np.int32), key)
    if not asker.variables and not callable(made):
        raise ValueError(
            f"recipe returned {type(made).__name__}, and without variables= it must return a predict function "
            "of x. To return variables, pass the target's as variables= and a predict of (variables, x)."
        )
    found = asker.read(made, x, y, signals, left)
    if said is not None and (doubt := unsteady(lambda rows: asker.logits(made, take(x, rows), True), found.logits)):
        said.append(f"a shadow's {doubt}")
    return found


def _same(a: Examples, b: Examples) -> bool:
    """Whether two pools hold the same records in the same order."""
    if a is b:
        return True
    ours, theirs = row_digests(as_records(a.x), as_records(b.x))
    return ours == theirs and value_digest(a.y, a.id) == value_digest(b.y, b.id)


def _as_file(found: Readings) -> bytes:
    file = io.BytesIO()
    further = {f"query:{i}": logits for i, logits in enumerate(found.queries)}
    np.savez(file, logits=found.logits, **further, **{f"probed:{name}": v for name, v in found.probed.items()})
    return file.getvalue()


def _read(name: Path, signals: Collection[Signal], asker: Asker, x: np.ndarray) -> Readings | None:
    """What was kept, or None where it is not there, or not all that is needed now."""
    try:
        kept = read_arrays(name)
        found = Readings(
            kept["logits"],
            tuple(kept[f"query:{i}"] for i in range(sum(key.startswith("query:") for key in kept))),
            {key.removeprefix("probed:"): values for key, values in kept.items() if key.startswith("probed:")},
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError) as error:
        raise ValueError(f"{name} holds no shadow's outputs whole ({error}); delete it to make it anew.") from error
    wanted = len(asker.copies(take(x, slice(0, 1))))
    whole = len(found.queries) == wanted and {signal.name for signal in signals if signal.needs} <= set(found.probed)
    return found if whole else None


def doubts(shadows: Shadows) -> list[str]:
    """What speaks against the recipe: shadows that are all the same, or that show no trace of their own members."""
    logits, member, p = shadows.readings.logits, shadows.member, shadows.pool
    if len(logits) > 1 and all((one == logits[0]).all() for one in logits[1:]):
        raise ValueError(
            f"all {len(logits)} shadows give the same outputs: the recipe ignores its rows and its key. It must train "
            "on pool rows `rows` alone, with draws from `key`."
        )
    losses = SIGNALS["loss"](logits[:, :p], shadows.y[:p])
    # Of many shadows of a recipe that ignores its rows some do well by luck: together they have one chance in twenty.
    level = 1 - 0.05 / len(losses)
    aucs = [metrics.auc_interval(-loss, row, level) for loss, row in zip(losses, member[:, :p], strict=True)]
    if any(auc.low > 0.5 for auc in aucs):
        return []
    mean = np.mean([auc.value for auc in aucs])
    return [
        f"no shadow's loss tells its own members from the others (mean AUC {mean:.3f}): so it is where nothing leaks, "
        "and so it is where a recipe ignores its rows"
    ]
