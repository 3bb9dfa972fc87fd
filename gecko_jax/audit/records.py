"""Which record is which: by id and by content, so that no record is a member and a non-member at once."""

from __future__ import annotations

import hashlib

import numpy as np

from gecko_jax import checks
from gecko_jax.types import Array, Examples


def _digests(x: Array) -> list[bytes]:
    """A name for each row's content; floats compare as float32, and -0 as 0."""
    x = np.asarray(x)
    if x.dtype.kind == "f":
        x = x.astype(np.float32) + np.float32(0)
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in x]


def check_apart(members: Examples, nonmembers: Examples) -> None:
    """Raises ValueError where a record is among both, for then nothing can tell the two apart."""
    for name, part in (("members", members), ("nonmembers", nonmembers)):
        check_rows(name, part)
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


def check_unseen(population: Examples, audited: Examples, pool: Examples | None) -> None:
    """Raises ValueError where a record of the population is audited, or may have been trained on."""
    check_rows("population", population)
    if np.shape(population.x)[1:] != np.shape(audited.x)[1:]:
        raise ValueError(f"population.x has rows {np.shape(population.x)[1:]}, the audited {np.shape(audited.x)[1:]}.")
    for name, part in (("audited records", audited), ("pool", pool)):
        if part is None:
            continue
        ids = np.isin(np.asarray(population.id), np.asarray(part.id))
        shared = ids | np.isin(_digests(population.x), _digests(part.x))
        if shared.any():
            raise ValueError(
                f"{int(shared.sum())} records of the population are among the {name}, the first "
                f"population[{int(shared.argmax())}]; a population is of records that no model was trained on."
            )


def check_rows(name: str, part: Examples) -> None:
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
