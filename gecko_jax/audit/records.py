"""Which record is which: by id and by content, so that no record is a member and a non-member at once."""

from __future__ import annotations

import hashlib

import numpy as np
from scipy import stats

from gecko_jax import checks
from gecko_jax.types import Array, Examples

CHANCE = 0.01  # of refusing a pool that holds members and non-members alike


def _digests(*parts: Array) -> list[list[bytes]]:
    """Names for the content of each part's rows, in the coarsest type among the parts, and with -0 as 0.

    What was loaded in float32 here, in float64 or in bytes there, is one record.
    """
    arrays = [np.asarray(part) for part in parts]
    kinds = {array.dtype for array in arrays}
    floats = [kind for kind in kinds if kind.kind == "f"]
    if len(kinds) > 1 and all(kind.kind in "biuf" for kind in kinds):
        arrays = [a.astype(min(floats, key=lambda k: k.itemsize) if floats else np.result_type(*kinds)) for a in arrays]
    arrays = [array + array.dtype.type(0) if array.dtype.kind == "f" else array for array in arrays]
    return [[hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in array] for array in arrays]


def check_apart(members: Examples, nonmembers: Examples) -> None:
    """Raises ValueError where a record is among both, for then nothing can tell the two apart."""
    for name, part in (("members", members), ("nonmembers", nonmembers)):
        check_rows(name, part)
    if np.shape(members.x)[1:] != np.shape(nonmembers.x)[1:]:
        raise ValueError(f"members.x has rows {np.shape(members.x)[1:]}, nonmembers.x {np.shape(nonmembers.x)[1:]}.")
    contents = _digests(members.x, nonmembers.x)
    names = [np.asarray(part.id).tolist() for part in (members, nonmembers)]
    for what, (ours, theirs) in (("id", names), ("content", contents)):
        first = {name: i for i, name in enumerate(ours)}
        shared = [(first[name], j) for j, name in enumerate(theirs) if name in first]
        if shared:
            alike = any(contents[0][i] == contents[1][j] for i, j in shared)
            what_to_do = "drop them from one of the two" if alike else "their x differ: give every record its own id"
            raise ValueError(
                f"{len(shared)} of the nonmembers are among the members by {what}, the first "
                f"nonmembers[{shared[0][1]}] = members[{shared[0][0]}]; {what_to_do}."
            )


def check_pool(member: np.ndarray, extra: np.ndarray) -> None:
    """Raises ValueError where members and non-members are not alike in being in the pool.

    A record outside has no shadow that was trained on it, which an attack sees: it would tell members from others by
    where they stand, and report that as a leak.

    Args:
      member: [n] bool.
      extra: which of the n are not in the pool.
    """
    outside = np.isin(np.arange(len(member)), extra)
    counts = [[int((outside & kind).sum()), int((~outside & kind).sum())] for kind in (member, ~member)]
    if stats.fisher_exact(counts).pvalue < CHANCE:
        raise ValueError(
            f"pool lacks {counts[0][0]} of {sum(counts[0])} members and {counts[1][0]} of {sum(counts[1])} nonmembers, "
            "so that being in the pool tells the two apart and attacks would find a leak that is none: pass a pool of "
            "both kinds, such as all records that the target's members were drawn from."
        )


def check_unseen(population: Examples, audited: Examples, pool: Examples | None) -> None:
    """Raises ValueError where a record of the population is audited, or may have been trained on."""
    check_rows("population", population)
    if np.shape(population.x)[1:] != np.shape(audited.x)[1:]:
        raise ValueError(f"population.x has rows {np.shape(population.x)[1:]}, the audited {np.shape(audited.x)[1:]}.")
    for name, part in (("audited records", audited), ("pool", pool)):
        if part is None:
            continue
        ids = np.isin(np.asarray(population.id), np.asarray(part.id))
        shared = ids | np.isin(*_digests(population.x, part.x))
        if shared.any():
            raise ValueError(
                f"{int(shared.sum())} records of the population are among the {name}, the first "
                f"population[{int(shared.argmax())}]; a population is of records that no model was trained on."
            )


def check_rows(name: str, part: Examples) -> None:
    """Raises ValueError unless `part` is Examples of as many x, y and ids, one or more, no id twice."""
    if not all(hasattr(part, field) for field in Examples._fields) or any(field is None for field in part):
        raise ValueError(
            f"{name} must be gecko_jax.types.Examples(x, y, id), three arrays of as many rows; the ids may be any "
            "numbers that no other record has."
        )
    checks.not_empty(f"{name}.y", part.y)
    for field, array in (("x", part.x), ("id", part.id)):
        if len(array) != len(part.y):
            raise ValueError(f"{name}.{field} has {len(array)} rows and {name}.y {len(part.y)}; expected as many.")
    if len(np.unique(part.id)) < len(part.id):
        raise ValueError(f"{name}.id repeats a value; each row needs a name of its own.")


def find(audited: Examples, pool: Examples) -> tuple[np.ndarray, np.ndarray]:
    """(rows, extra): where each audited record stands in the pool followed by the records `extra` that it lacks."""
    check_rows("pool", pool)
    if np.shape(pool.x)[1:] != np.shape(audited.x)[1:]:
        raise ValueError(f"pool.x has rows {np.shape(pool.x)[1:]}, the audited records {np.shape(audited.x)[1:]}.")
    place = {name: i for i, name in enumerate(np.asarray(pool.id).tolist())}
    contents, audited_contents = _digests(pool.x, audited.x)
    by_content = set(contents)
    rows, extra = np.empty(len(audited.id), np.int64), []
    for i, (name, content) in enumerate(zip(audited.id.tolist(), audited_contents, strict=True)):
        if name in place and (contents[place[name]] != content or pool.y[place[name]] != audited.y[i]):
            raise ValueError(f"id {name} names one record in the pool and another among the audited; ids must agree.")
        if name not in place and content in by_content:
            raise ValueError(f"the audited record of id {name} is in the pool under another id; ids must agree.")
        if name not in place:
            extra.append(i)
        rows[i] = place[name] if name in place else len(place) + len(extra) - 1
    return rows, np.array(extra, np.int64)
