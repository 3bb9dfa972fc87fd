"""Records by id and by content: no record may be a member and a non-member at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from gecko_jax import checks
from gecko_jax.audit.validity.containers import as_records, count, shape_of_record
from gecko_jax.datasets.hashing import count_on
from gecko_jax.digests import row_digests
from gecko_jax.types import Examples

REMEDY = "ids must agree: give the pool's records ids, and take the audited ones out of it (trees.take(pool, rows))."
MAX_P_VALUE = 0.01  # below it, a pool that lacks one kind more than the other is refused


def named_apart(part: Examples, *others: Examples | None) -> Examples:
    """Returns the records under ids of their own if theirs are but places, 0..n-1, which the others' are, too.

    Examples without ids are numbered by their places, so that two sets of them share all ids by no one's intention.
    Ids that say more are left alone, and so are those of a part that others name, such as a pool's.
    """
    there = [other for other in others if other is not None]
    if not all(_has_places_for_ids(one) for one in (part, *there)):
        return part
    return part._replace(id=count_on(np.arange(sum(len(other.id) for other in there)), np.asarray(part.id)))


def _has_places_for_ids(part: Examples) -> bool:
    ids = np.asarray(getattr(part, "id", None))
    return ids.ndim == 1 and np.array_equal(ids, np.arange(len(ids)))


def check_apart(members: Examples, nonmembers: Examples) -> None:
    """Raises ValueError if a record is among both."""
    for name, part in (("members", members), ("nonmembers", nonmembers)):
        check_rows(name, part)
    _check_alike("members.x", members, "nonmembers.x", nonmembers)
    contents = row_digests(as_records(members.x), as_records(nonmembers.x))
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
    """Raises ValueError if the pool lacks members and non-members in different shares.

    A record outside the pool has no shadow that was trained on it, which an attack sees: it would tell members from
    non-members by that alone, and report a leak.

    Args:
      member: [n] bool.
      extra: which of the n are not in the pool.
    """
    outside = np.isin(np.arange(len(member)), extra)
    counts = [[int((outside & kind).sum()), int((~outside & kind).sum())] for kind in (member, ~member)]
    p_value: Any = stats.fisher_exact(counts)[1]
    if p_value < MAX_P_VALUE:
        raise ValueError(
            f"pool lacks {counts[0][0]} of {sum(counts[0])} members and {counts[1][0]} of {sum(counts[1])} nonmembers, "
            "which alone tells the two apart: attacks would report a leak where there is none. Pass a pool of both "
            "kinds, such as all records that the target's members were drawn from."
        )


def check_unseen(population: Examples, audited: Examples, pool: Examples | None) -> None:
    """Raises ValueError if a record of the population is audited, or may have been trained on."""
    check_rows("population", population)
    _check_alike("population.x", population, "the audited records", audited)
    for name, part in (("audited records", audited), ("pool", pool)):
        if part is None:
            continue
        ids = np.isin(np.asarray(population.id), np.asarray(part.id))
        contents, others = row_digests(as_records(population.x), as_records(part.x))
        others = set(others)
        shared = ids | np.array([content in others for content in contents])
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
    for field, array in (("x", as_records(part.x)), ("id", part.id)):
        if count(array) != len(part.y):
            raise ValueError(f"{name}.{field} has {count(array)} rows and {name}.y {len(part.y)}; expected as many.")
    if len(np.unique(part.id)) < len(part.id):
        raise ValueError(f"{name}.id repeats a value; each row needs its own.")


def _check_alike(name: str, part: Examples, other_name: str, other: Examples) -> None:
    ours, theirs = (shape_of_record(as_records(one.x)) for one in (part, other))
    if ours != theirs:
        raise ValueError(f"{name} has rows {ours}, {other_name} {theirs}.")


def find(audited: Examples, pool: Examples) -> tuple[np.ndarray, np.ndarray]:
    """Returns (rows, extra): the place of each audited record in the pool, followed by the records that it lacks."""
    check_rows("pool", pool)
    _check_alike("pool.x", pool, "the audited records", audited)
    place = {name: i for i, name in enumerate(np.asarray(pool.id).tolist())}
    contents, audited_contents = row_digests(as_records(pool.x), as_records(audited.x))
    by_content = set(contents)
    rows, extra = np.empty(len(audited.id), np.int64), []
    for i, (name, content) in enumerate(zip(audited.id.tolist(), audited_contents, strict=True)):
        known = place.get(name)
        if known is not None and (contents[known] != content or not np.array_equal(pool.y[known], audited.y[i])):
            raise ValueError(f"id {name} names one record in the pool and another among the audited; {REMEDY}")
        if name not in place and content in by_content:
            raise ValueError(f"the audited record of id {name} is in the pool under another id; {REMEDY}")
        if name not in place:
            extra.append(i)
        rows[i] = place[name] if name in place else len(place) + len(extra) - 1
    return rows, np.array(extra, np.int64)
