"""Shadow models of a target: members drawn by coins, trained by the target's own recipe, and read as the target is."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from gecko_jax import checks, hosts, keys, trees
from gecko_jax.audit.reading.model_reader import ModelReader
from gecko_jax.audit.reading.readings import Readings, stacked
from gecko_jax.audit.reading.recipe_checks import Shadows, evaluation_doubt
from gecko_jax.audit.reading.shadow_files import read_shadow, write_shadow
from gecko_jax.audit.validity.containers import as_records, join, take
from gecko_jax.audit.validity.records import check_pool, find
from gecko_jax.datasets import membership
from gecko_jax.digests import row_digests, value_digest
from gecko_jax.probes.records import check_labels
from gecko_jax.signals import Signal
from gecko_jax.training import Recipe
from gecko_jax.types import Examples


class ShadowTraining(NamedTuple):
    """How shadow models are trained.

    Attributes:
      recipe: a `training.Recipe`; or a function of (rows, key) that has its fingerprint as an attribute, if outputs are
        kept.
      pool: what they are trained on; labels are class numbers.
      count: how many there are.
      key: seed or JAX key of their members and their training.
      folder: where their outputs are kept; None to keep none.
    """

    recipe: Callable[..., Any]
    pool: Examples
    count: int
    key: int | jax.Array
    folder: str | os.PathLike[str] | None = None


class ShadowRecords(NamedTuple):
    """The records that shadow models are read on, beside the pool.

    Attributes:
      audited: the target's.
      rows, extra: from `locate`.
      population: records that no model was trained on, or None.
    """

    audited: Examples
    rows: np.ndarray
    extra: np.ndarray
    population: Examples | None = None


class ReadingLog(NamedTuple):
    """What an audit collects while it reads models.

    Attributes:
      errors: a signal that could not be read -> why; None if an error ends the audit.
      warnings: sentences for the report.
    """

    errors: dict[Signal, str] | None
    warnings: list[str]


def locate(
    recipe: Callable[..., Any], audited: Examples, member: np.ndarray, pool: Examples
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (rows, extra) of `records.find`, before any model is asked or trained.

    Raises:
      ValueError: a pool that is not the recipe's, or that holds members and non-members in unlike shares.
    """
    rows, extra = find(audited, pool)
    check_pool(member, extra)
    if isinstance(recipe, Recipe) and not _hold_the_same(recipe.pool, pool):
        raise ValueError("pool is not recipe.pool, of whose rows the recipe trains; pass pool=recipe.pool.")
    return rows, extra


def make_shadows(
    training: ShadowTraining,
    records: ShadowRecords,
    reader: ModelReader,
    signals: Collection[Signal],
    columns: int | None = None,
    log: ReadingLog | None = None,
) -> Shadows:
    """Trains shadows and reads them on the pool, on the audited records that it lacks, and on the population.

    Args:
      training: how they are trained.
      records: what they are read on, beside the pool.
      reader: reads what the recipe returns.
      signals: that attacks will need.
      columns: of the target's outputs, which every shadow must have; None for any.
      log: collects errors and warnings; if None, an error is raised and warnings are lost.

    Raises:
      ValueError: a pool too small for coins; a shadow with other columns than the target, as soon as it is trained.
    """
    log = ReadingLog(None, []) if log is None else log
    pool, count, audited, unseen = training.pool, training.count, records.audited, records.population
    if unseen is None:
        unseen = Examples(*(take(part, slice(0, 0)) for part in audited))
    x = join([as_records(pool.x), take(audited.x, records.extra), as_records(unseen.x)])
    y = np.concatenate([np.asarray(pool.y), audited.y[records.extra], np.asarray(unseen.y)])
    # The draw has its own stream, so it never repeats the draw that made the target from the same seed.
    seed = int(jax.random.bits(keys.stream(training.key, "audit", "members"), (), "uint32"))
    member = membership.coins(np.asarray(pool.id), count, seed)
    for row in member:
        if row.all() or not row.any():
            raise ValueError(f"pool has {len(row)} rows, too few for coins: a shadow got all of them or none.")
    training = training._replace(key=keys.stream(training.key, "audit", "shadow"))
    read_all = _read_together if isinstance(training.recipe, Recipe) else _read_one_by_one
    readings = stacked(read_all(training, member, Examples(x, y, None), reader, signals, columns, log))
    if columns is not None:
        checks.shape("outputs of the recipe's models", readings.logits, (None, None, columns))
    inside = np.concatenate([member, np.zeros((count, len(y) - len(pool.y)), bool)], 1)
    labels = y if readings.logits is None else check_labels(y, len(y), readings.logits.shape[-1])
    beyond = slice(len(y) - len(unseen.y), len(y))
    return Shadows(readings, inside, labels, len(pool.y), records.rows, beyond)


def _read_together(training: ShadowTraining, member, read_on: Examples, reader, signals, columns, log: ReadingLog):
    """Returns the Readings of shadows that one program trained."""
    recipe, pool, count, key, folder = training
    folder = folder and Path(folder) / f"fit-{value_digest(member, pool.x, pool.y, jax.random.key_data(key))}"
    variables = recipe.ensemble(member, key, folder)
    return [reader.read(trees.take(variables, i), read_on.x, read_on.y, signals, log.errors) for i in range(count)]


def _read_one_by_one(training: ShadowTraining, member, read_on: Examples, reader, signals, columns, log: ReadingLog):
    """Returns the Readings of each shadow, from the folder if they are there already.

    A shadow whose rows lack a class comes first, so a model that drops the class's column is found by the first one.
    """
    recipe, _, count, key, folder = training
    x, y, _ = read_on
    asked = folder and f"{value_digest(x, y)}-{reader.fingerprint(x, signals)}"
    labels = [len(np.unique(y[: member.shape[1]][row])) for row in member]
    readings, of_other_recipes = dict[int, Readings](), 0
    for i in np.argsort(labels, kind="stable"):
        row, row_key = member[i], jax.random.fold_in(key, int(i))
        start = folder and f"shadow-{asked}-{value_digest(row, jax.random.key_data(row_key))}"
        path = Path(folder) / f"{start}-{recipe.fingerprint}.npz" if folder else None
        one, has_others = hosts.from_main(lambda: _stored(path, start, signals, reader.further_outputs(x)))  # noqa: B023
        if one is None:
            of_other_recipes += has_others
            model = _train(recipe, row, row_key, reader)
            one = reader.read(model, x, y, signals, log.errors)
            if not readings:
                log.warnings.extend(_evaluation_warnings(reader, model, x, one))
            if path and hosts.is_main():
                write_shadow(path, one)
        width = one.model_outputs().shape[-1]
        if columns is not None and width != columns:
            raise ValueError(
                f"a shadow's outputs have {width} columns and the target's {columns}: its {row.sum()} "
                f"rows of the pool have {labels[i]} of {len(np.unique(y))} classes. Return a column for every class, 0 "
                "for those that a model has not seen: probs = np.zeros((len(x), classes)); probs[:, model.classes_] = "
                "model.predict_proba(x)."
            )
        readings[int(i)] = one
    if of_other_recipes:
        log.warnings.append(
            f"The folder keeps {of_other_recipes} shadows that were made for these members by another recipe or "
            "predict (its code, or a value that it holds, is not the same); they were not used, and new ones were made."
        )
    return [readings[i] for i in range(count)]


def _stored(path: Path | None, start: Any, signals, queries: int) -> tuple[Readings | None, bool]:
    """Returns the readings in a shadow's file, if it is there, and whether there is one of another recipe."""
    if path is None:
        return None, False
    one = read_shadow(path, signals, queries)
    return one, one is None and any(other != path for other in path.parent.glob(f"{start}-*.npz"))


def _train(recipe: Callable[..., Any], row: np.ndarray, key: jax.Array, reader) -> Any:
    model = recipe(np.flatnonzero(row).astype(np.int32), key)
    if reader.versions and not reader.variables:
        return as_versions("what recipe returned", model, reader.versions)
    if not reader.variables and not callable(model):
        raise ValueError(
            f"recipe returned {type(model).__name__}, and without variables= it must return a predict function "
            "of x. To return variables, pass the target's as variables= and a predict of (variables, x)."
        )
    return model


def as_versions(name: str, models: Any, versions: Sequence[str]) -> dict[str, Any]:
    """Returns a shadow's predict function for each version, by name; a list is in the order of the target's."""
    if isinstance(models, (list, tuple)) and len(models) == len(versions):
        models = dict(zip(versions, models, strict=True))
    if not isinstance(models, Mapping) or set(models) != set(versions) or not all(map(callable, models.values())):
        names = sorted(map(str, models)) if isinstance(models, Mapping) else type(models).__name__
        raise ValueError(f"{name} is {names}; expected a predict function of x for each of {', '.join(versions)}.")
    return dict(models)


def _evaluation_warnings(reader: ModelReader, model: Any, x: Any, readings: Readings) -> list[str]:
    doubt = evaluation_doubt(reader, model, x, readings)
    return [f"Of a shadow: {doubt}"] if doubt else []


def _hold_the_same(a: Examples, b: Examples) -> bool:
    """Returns whether two pools hold the same records in the same order."""
    if a is b:
        return True
    ours, theirs = row_digests(as_records(a.x), as_records(b.x))
    return ours == theirs and value_digest(a.y, a.id) == value_digest(b.y, b.id)
