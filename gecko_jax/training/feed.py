"""What the groups of a run are trained on: its epochs in portions, with the rows where the devices read them.

Rows that fit stay on the devices. Others are streamed: the host reads the rows of the next steps while the devices
compute. Both give a model the same rows, keys and weights, in the same order; a sum may be rounded otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import jax
import numpy as np

from gecko_jax.training import batch_plan, device_groups
from gecko_jax.training.batch_plan import BatchPlan
from gecko_jax.training.device_groups import DeviceGroups
from gecko_jax.training.pool import Data
from gecko_jax.training.step import Epoch
from gecko_jax.training.stored import byte_count, is_stored, read_rows
from gecko_jax.trees import take

MAX_SHARE = 0.25  # of an accelerator's memory, for rows: the rest is for states and what a step computes
MAX_BYTES_FROM_DISK = 2**30  # that are loaded into a CPU's memory
BYTES_PER_PORTION = 2**26  # some milliseconds of reading, which hide the start of a program; two are in memory


class Place(NamedTuple):
    """Where a group's portion stands in the run, to say what failed.

    Attributes:
      epoch: its number.
      first: number of the portion's first step in the epoch.
      indices: int32 [width, steps, b], rows of the user's data.
    """

    epoch: int
    first: int
    indices: np.ndarray


class Portion(NamedTuple):
    """Consecutive steps of one epoch.

    Attributes:
      epoch: its number.
      first: number of the first step in the epoch.
      is_last: whether the epoch ends with it.
      data: for each group the rows that its parts' indices select from.
      parts: for each group the rows and draws of its steps, host arrays.
      indices: int32 [m, steps, b], rows of the user's data.
    """

    epoch: int
    first: int
    is_last: bool
    data: list[Data]
    parts: list[Epoch]
    indices: np.ndarray

    def at(self, models: np.ndarray) -> Place:
        """Returns where some of the models are."""
        return Place(self.epoch, self.first, self.indices[models])


class Feed(Protocol):
    """Yields the portions of a run.

    Attributes:
      portions_per_epoch: how many there are.
    """

    portions_per_epoch: int

    def portions(self, epochs: range) -> Iterator[Portion]:
        """Yields the portions of some epochs in order; a function of the run alone, whenever it is called."""
        ...


def feed_of(pool: Data, plan: BatchPlan, groups: DeviceGroups) -> Feed:
    """Chooses whether the rows of a run stay on the devices.

    Arguments as of `Resident` and `Streamed`.

    Raises:
      ValueError: see `Streamed`.
    """
    return Streamed(pool, plan, groups) if is_streamed(pool) else Resident(pool, plan, groups)


def is_streamed(pool: Data) -> bool:
    """Returns whether rows are too many to stay on a device.

    On an accelerator they may take MAX_SHARE of its memory. On a CPU arrays in memory are where they are needed, and of
    those on a disk MAX_BYTES_FROM_DISK are loaded.
    """
    leaves = jax.tree.leaves(pool)
    size, on_disk = sum(map(byte_count, leaves)), any(map(is_stored, leaves))
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    if limit is not None and device_groups.on_accelerator():
        return size > limit * MAX_SHARE
    return on_disk and size > MAX_BYTES_FROM_DISK


class Resident:
    """Keeps all rows on the devices; an epoch is one portion.

    Args:
      pool: all rows.
      plan: which of them are read when.
      groups: where the models are.
    """

    portions_per_epoch = 1

    def __init__(self, pool: Data, plan: BatchPlan, groups: DeviceGroups):
        loaded = jax.tree.map(
            lambda leaf: np.asarray(leaf[:]) if is_stored(leaf) else leaf, pool._replace(own_extra=None)
        )
        shared = groups.share(loaded)
        self._data = [shared._replace(own_extra=groups.place(take(pool.own_extra, rows))) for rows in groups.rows]
        self._plan, self._groups = plan, groups

    def portions(self, epochs: range) -> Iterator[Portion]:
        """Yields one portion an epoch."""
        for epoch in epochs:
            work = batch_plan.plan_epoch(self._plan, epoch)
            parts = [work.row(rows) for rows in self._groups.rows]
            yield Portion(epoch, 0, True, self._data, parts, np.asarray(work.indices))


class Streamed:
    """Reads the rows of some steps at a time, BYTES_PER_PORTION of them, and keeps no others.

    Args:
      pool: all rows, on the host or on a disk.
      plan: which of them are read when.
      groups: where the models are.

    Raises:
      ValueError: extras of each model, of which a group of several models would need all rows.
    """

    def __init__(self, pool: Data, plan: BatchPlan, groups: DeviceGroups):
        width = len(groups.rows[0])
        if pool.own_extra is not None and width > 1:
            raise ValueError(
                f"extra_per_model=True with {sum(map(byte_count, jax.tree.leaves(pool))):,} bytes of data, which are "
                "streamed and not kept on the device: expected extras that all models share. Train the "
                f"{groups.models} models one by one (training.fit with model_id=), or pass fewer rows, in memory."
            )
        self._pool, self._plan, self._groups = pool, plan, groups
        row = sum(byte_count(leaf) // len(leaf) for leaf in jax.tree.leaves(pool.of(0)))
        total = int(plan.steps.max())
        self.portions_per_epoch = -(-total // max(BYTES_PER_PORTION // (row * plan.slots * width), 1))
        self._steps = -(-total // self.portions_per_epoch)  # the last portion may be shorter: a second program
        self.portions_per_epoch = -(-total // self._steps)

    def portions(self, epochs: range) -> Iterator[Portion]:
        """Yields the portions of the epochs, the rows of one after another."""
        for epoch in epochs:
            work = batch_plan.plan_epoch(self._plan, epoch)
            for first in range(0, work.indices.shape[1], self._steps):
                yield self._portion(epoch, work, first)

    def _portion(self, epoch: int, work: Epoch, first: int) -> Portion:
        steps = slice(first, first + self._steps)
        indices = np.asarray(work.indices)[:, steps]
        cut = work._replace(indices=indices, weight=work.weight[:, steps], first=np.int32(first))
        each = [self._of_group(rows, cut.row(rows)) for rows in self._groups.rows]
        is_last = first + self._steps >= work.indices.shape[1]
        return Portion(epoch, first, is_last, [data for data, _ in each], [part for _, part in each], indices)

    def _of_group(self, models: np.ndarray, part: Epoch) -> tuple[Data, Epoch]:
        """Returns the rows of a group's steps, and the steps with the numbers that these rows have there."""
        rows = np.asarray(part.indices).reshape(-1)
        each_own = jax.tree.map(lambda leaf: read_rows(leaf[models[0]], rows)[None], self._pool.own_extra)
        read = jax.tree.map(lambda leaf: read_rows(leaf, rows), self._pool._replace(own_extra=None))
        placed = self._groups.share(read)._replace(own_extra=self._groups.place(each_own))
        return placed, part._replace(indices=np.arange(len(rows), dtype=np.int32).reshape(part.indices.shape))
