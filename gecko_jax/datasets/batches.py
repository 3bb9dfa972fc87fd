"""Batches of row indices, of one static shape for all models: who is trained on in which step.

The data are not copied; a step gathers its rows by index. The shape is [models, steps, batch size]. One compiled
program therefore serves an ensemble whose models have different numbers of members, because the rest is padding, rows
of weight 0. Padding repeats members of the same model, so a statistic over a batch never includes a non-member.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gecko_jax import checks, keys
from gecko_jax.types import Array


class Batches(NamedTuple):
    """Row indices in training order.

    Attributes:
      indices: int32 [m, steps, b], rows of the data set.
      weight: float32 of the same shape, 1 for a real row and 0 for padding, which comes last.
    """

    indices: np.ndarray
    weight: np.ndarray


def as_members(member: Array) -> np.ndarray:
    """Returns an array [m, n] of memberships, with one row if it has one axis; `check_members` judges what it holds.

    Args:
      member: [n] or [m, n].

    Raises:
      ValueError: what is not an array of numbers, such as a loss that was meant for another argument.

    >>> as_members([True, False]).shape
    (1, 2)
    """
    try:
        array = np.asarray(member)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"member is a {type(member).__name__}; expected bool [m, n], or [n] of one model. Pass a loss and other "
            "options by name: loss=, epochs=."
        )
    return np.atleast_2d(array)


def check_members(member: np.ndarray, model_ids: Sequence[int] | None = None) -> tuple[np.ndarray, Sequence[int]]:
    """Checks who trains which model, and returns (member: bool [m, n], model_ids: [m] integers).

    Args:
      member, model_ids: see `batches`.

    Raises:
      ValueError: members that are not bool [m, n] (an index of 0 and 1 selects two rows, not a row where it is 1), a
        model without any, or IDs that are not m different integers.
    """
    member = np.asarray(member)
    checks.shape("member", member, (None, None))
    if member.dtype != np.bool_:
        raise ValueError(
            f"member has dtype {member.dtype}; expected bool [m, n] (one row a model): of zeros and ones take "
            "member.astype(bool)."
        )
    checks.not_empty("member", member)
    ids = range(len(member)) if model_ids is None else [checks.integer("model_ids", each, 0) for each in model_ids]
    if len(ids) != len(member) or len(set(ids)) != len(ids):
        listed = checks.listed(ids)
        raise ValueError(f"model_ids=[{listed}] must be {len(member)} different integers, one for each row of member.")
    counts = np.count_nonzero(member, axis=1)
    if not counts.all():
        row = int(np.argmin(counts))
        raise ValueError(f"member[{row}] selects no rows; give that model at least one example, or leave it out.")
    return member, ids


def batches(
    member: np.ndarray,
    batch_size: int,
    seed: int,
    epoch: int,
    *,
    steps: int | None = None,
    model_ids: Sequence[int] | None = None,
) -> Batches:
    """Shuffles each model's members and cuts them into the batches of one epoch.

    Row i is a function of (seed, epoch, model_ids[i]) and of that model's members alone. A model that is trained alone
    therefore sees the same rows in the same order as in an ensemble. Every member appears exactly once with weight 1.
    A model with fewer members than another ends in steps of weight 0, which a trainer has to skip.

    Args:
      member: bool [m, n], whether example j trains model i.
      batch_size: rows b of a batch.
      seed: seed of the shuffling, at least 0.
      epoch: number of the epoch, from 0.
      steps: batches of the epoch; ceil(largest number of members / b) if None. With fewer steps the tail of each
        shuffle is left out (a different one each epoch), more steps are padding.
      model_ids: IDs that select each row's random stream, [m] different integers from 0; range(m) if None.

    Returns:
      Batches of [m, steps, b].

    Raises:
      ValueError: a model without members, or an argument of a wrong shape or range.

    Example:
      >>> import numpy as np
      >>> order = batches(np.array([[True, False, True, True]]), batch_size=2, seed=0, epoch=0)
      >>> order.indices.shape, sorted(order.indices[order.weight == 1].tolist())
      ((1, 2, 2), [0, 2, 3])
    """
    member, ids = check_members(member, model_ids)
    batch_size, seed = checks.integer("batch_size", batch_size, 1), checks.integer("seed", seed, 0)
    epoch, counts = checks.integer("epoch", epoch, 0), np.count_nonzero(member, axis=1)
    steps = -(-int(counts.max()) // batch_size) if steps is None else checks.integer("steps", steps, 1)

    slots = steps * batch_size
    indices = np.empty((len(member), slots), np.int32)
    for row, model_id in enumerate(ids):
        order = np.flatnonzero(member[row])
        keys.generator(seed, "batches", epoch, model_id).shuffle(order)
        indices[row] = np.resize(order, slots)
    weight = (np.arange(slots) < counts[:, None]).astype(np.float32)
    shape = (len(member), steps, batch_size)
    return Batches(indices.reshape(shape), weight.reshape(shape))
