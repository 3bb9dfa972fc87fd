"""Shadow models of a target: members drawn by coins, the target's own recipe, and their outputs, kept if asked for."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gecko_jax import keys, metrics
from gecko_jax.attacks import SIGNALS
from gecko_jax.audit.inputs import check_labels
from gecko_jax.audit.one_model import Shadows
from gecko_jax.audit.records import find
from gecko_jax.datasets import membership
from gecko_jax.reports import write_atomic
from gecko_jax.training import Recipe
from gecko_jax.trees import take
from gecko_jax.types import Examples


def make_shadows(
    recipe: Callable[..., Any],
    run: Callable[[Any, np.ndarray], np.ndarray],
    audited: Examples,
    pool: Examples,
    count: int,
    key: int | jax.Array,
    variables: bool,
    folder: str | os.PathLike[str] | None,
) -> tuple[Shadows, int]:
    """Trains shadows and takes their outputs on the pool and on the audited records that it lacks.

    Args:
      recipe, pool, key, folder: see `audit`.
      run: (what the recipe made, x) -> logits.
      audited: the target's records.
      count: of shadows.
      variables: whether the recipe makes variables, and not a predict function.

    Returns:
      The shadows, and how many audited records are not in the pool.
    """
    rows, extra = find(audited, pool)
    x = np.concatenate([np.asarray(pool.x), audited.x[extra]])
    y = np.concatenate([np.asarray(pool.y), audited.y[extra]])
    # The draw has its own stream, so that it never repeats the draw that made the target from the same seed.
    seed = int(jax.random.bits(keys.stream(key, "audit", "members"), (), "uint32"))
    drawn = membership.coins(pool.id, count, seed)
    for row in drawn:
        if row.all() or not row.any():
            raise ValueError(f"pool has {len(row)} rows, too few for coins: a shadow got all of them or none.")
    key = keys.stream(key, "audit", "shadow")
    if isinstance(recipe, Recipe):
        if not variables:
            raise ValueError("recipe makes variables: pass the target's as variables= and a predict of (variables, x).")
        place = folder and Path(folder) / f"fit-{_digest(drawn, pool.x, pool.y, jax.random.key_data(key))}"
        together = recipe.ensemble(drawn, key, place)
        logits = [run(take(together, i), x) for i in range(count)]
    else:
        logits = list(_one_by_one(recipe, run, x, y, drawn, key, variables, folder))
    logits = np.stack(logits)
    inside = np.concatenate([drawn, np.zeros((count, len(extra)), bool)], 1)
    return Shadows(logits, inside, check_labels(y, len(x), logits.shape[-1]), len(pool.y), rows), len(extra)


def _one_by_one(recipe, run, x, y, drawn, key, variables, folder) -> Iterator[np.ndarray]:
    """Each shadow's logits, read from the folder where they stand there already."""
    records = _digest(x, y)
    for i, row in enumerate(drawn):
        own = jax.random.fold_in(key, i)
        name = folder and Path(folder) / f"shadow-{records}-{_digest(row, jax.random.key_data(own))}.npz"
        found = _read(name) if name else None
        if found is None:
            made = recipe(np.flatnonzero(row).astype(np.int32), own)
            if not variables and not callable(made):
                raise ValueError(
                    f"recipe returned {type(made).__name__}, and without variables= it must return a predict function "
                    "of x. To return variables, pass the target's as variables= and a predict of (variables, x)."
                )
            found = run(made, x)
            if name:
                file = io.BytesIO()
                np.savez(file, logits=found)
                write_atomic(name, file.getvalue())
        yield found


def _digest(*arrays: Any) -> str:
    """A name for arrays' contents."""
    found = hashlib.blake2b(digest_size=8)
    for array in arrays:
        array = np.ascontiguousarray(array)
        found.update(f"{array.shape}{array.dtype}".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def _read(name: Path) -> np.ndarray | None:
    """What was kept, or None where there is nothing whole."""
    try:
        with open(name, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            return file["logits"]
    except FileNotFoundError:
        return None
    except (zipfile.BadZipFile, EOFError, ValueError, KeyError) as error:
        raise ValueError(f"{name} holds no shadow's outputs whole ({error}); delete it to make it anew.") from error


def doubts(shadows: Shadows) -> list[str]:
    """What speaks against the recipe: shadows that are all the same, or that show no trace of their own members."""
    logits, member, p = shadows.logits, shadows.member, shadows.pool
    if len(logits) > 1 and all((one == logits[0]).all() for one in logits[1:]):
        raise ValueError(
            f"all {len(logits)} shadows give the same outputs: the recipe ignores its rows and its key. It must train "
            "on pool rows `rows` alone, with draws from `key`."
        )
    losses = SIGNALS["loss"](logits[:, :p], shadows.y[:p])
    aucs = [metrics.auc_interval(-loss, row, 0.95) for loss, row in zip(losses, member[:, :p], strict=True)]
    if any(auc.low > 0.5 for auc in aucs):
        return []
    mean = np.mean([auc.value for auc in aucs])
    return [
        f"no shadow's loss tells its own members from the others (mean AUC {mean:.3f}): so it is where nothing leaks, "
        "and so it is where a recipe ignores its rows"
    ]
