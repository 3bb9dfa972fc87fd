"""Shadow models of a target: members drawn by coins, the target's own recipe, and their outputs, kept if asked for."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gecko_jax import keys, metrics
from gecko_jax.attacks import PROBED, SIGNALS
from gecko_jax.audit.asking import Asker, digest
from gecko_jax.audit.inputs import check_labels
from gecko_jax.audit.one_model import Shadows
from gecko_jax.audit.readings import Readings, stacked
from gecko_jax.audit.records import check_pool, find
from gecko_jax.datasets import membership
from gecko_jax.files import read_arrays, write_atomic
from gecko_jax.training import Recipe
from gecko_jax.trees import take
from gecko_jax.types import Examples


def make_shadows(
    recipe: Callable[..., Any],
    asker: Asker,
    signals: Collection[str],
    audited: Examples,
    member: np.ndarray,
    pool: Examples,
    count: int,
    key: int | jax.Array,
    folder: str | os.PathLike[str] | None = None,
    population: Examples | None = None,
) -> tuple[Shadows, int]:
    """Trains shadows and reads them on the pool, on the audited records that it lacks, and on the population.

    Args:
      recipe, pool, key, folder, population: see `audit`.
      asker: reads what the recipe made.
      signals: that attacks will need.
      audited: the target's records.
      member: [n] bool, which of them it was trained on.
      count: of shadows.

    Returns:
      The shadows, and how many audited records are not in the pool.

    Raises:
      ValueError: a pool that is not the recipe's, or that holds members and non-members in unlike shares.
    """
    rows, extra = find(audited, pool)
    check_pool(member, extra)
    if isinstance(recipe, Recipe) and not _same(recipe.pool, pool):
        raise ValueError("pool is not recipe.pool, of whose rows the recipe trains; pass pool=recipe.pool.")
    unseen = Examples(audited.x[:0], audited.y[:0], audited.id[:0]) if population is None else population
    x = np.concatenate([np.asarray(pool.x), audited.x[extra], np.asarray(unseen.x)])
    y = np.concatenate([np.asarray(pool.y), audited.y[extra], np.asarray(unseen.y)])
    # The draw has its own stream, so that it never repeats the draw that made the target from the same seed.
    seed = int(jax.random.bits(keys.stream(key, "audit", "members"), (), "uint32"))
    drawn = membership.coins(pool.id, count, seed)
    for row in drawn:
        if row.all() or not row.any():
            raise ValueError(f"pool has {len(row)} rows, too few for coins: a shadow got all of them or none.")
    key = keys.stream(key, "audit", "shadow")
    if isinstance(recipe, Recipe):
        if not asker.variables:
            raise ValueError("recipe makes variables: pass the target's as variables= and a predict of (variables, x).")
        place = folder and Path(folder) / f"fit-{digest(drawn, pool.x, pool.y, jax.random.key_data(key))}"
        together = recipe.ensemble(drawn, key, place)
        found = [asker.read(take(together, i), x, y, signals) for i in range(count)]
    else:
        found = list(_one_by_one(recipe, asker, signals, x, y, drawn, key, folder))
    readings = stacked(found)
    inside = np.concatenate([drawn, np.zeros((count, len(x) - len(pool.y)), bool)], 1)
    labels = check_labels(y, len(x), readings.logits.shape[-1])
    beyond = slice(len(x) - len(unseen.y), len(x))
    return Shadows(readings, inside, labels, len(pool.y), rows, beyond), len(extra)


def _one_by_one(recipe, asker: Asker, signals, x, y, drawn, key, folder) -> Iterator[Readings]:
    """What is read off each shadow, or was read: from the folder, where it stands there already."""
    asked = folder and f"{digest(x, y)}-{asker.fingerprint(x, signals)}"
    for i, row in enumerate(drawn):
        own = jax.random.fold_in(key, i)
        name = folder and Path(folder) / f"shadow-{asked}-{digest(row, jax.random.key_data(own))}.npz"
        found = _read(name, signals, asker, x) if name else None
        if found is None:
            made = recipe(np.flatnonzero(row).astype(np.int32), own)
            if not asker.variables and not callable(made):
                raise ValueError(
                    f"recipe returned {type(made).__name__}, and without variables= it must return a predict function "
                    "of x. To return variables, pass the target's as variables= and a predict of (variables, x)."
                )
            found = asker.read(made, x, y, signals)
            if name:
                write_atomic(name, _as_file(found))
        yield found


def _same(a: Examples, b: Examples) -> bool:
    return a is b or all(np.array_equal(ours, theirs) for ours, theirs in zip(a, b, strict=True))


def _as_file(found: Readings) -> bytes:
    file = io.BytesIO()
    further = {f"query:{i}": logits for i, logits in enumerate(found.queries)}
    np.savez(file, logits=found.logits, **further, **{f"probed:{name}": v for name, v in found.probed.items()})
    return file.getvalue()


def _read(name: Path, signals: Collection[str], asker: Asker, x: np.ndarray) -> Readings | None:
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
    wanted = len(asker.copies(x[:1]))
    whole = len(found.queries) == wanted and set(signals) & set(PROBED) <= set(found.probed)
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
