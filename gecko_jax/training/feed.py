"""What the groups of a run are trained on: its epochs in portions, with the rows where the devices read them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

from gecko_jax.training import batch_plan
from gecko_jax.training.batch_plan import BatchPlan
from gecko_jax.training.device_groups import DeviceGroups
from gecko_jax.training.pool import Data
from gecko_jax.training.step import Epoch
from gecko_jax.trees import take


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


class Resident:
    """Keeps all rows on the devices; an epoch is one portion.

    Args:
      pool: all rows.
      plan: which of them are read when.
      groups: where the models are.
    """

    portions_per_epoch = 1

    def __init__(self, pool: Data, plan: BatchPlan, groups: DeviceGroups):
        shared = groups.share(pool._replace(own_extra=None))
        self._data = [shared._replace(own_extra=groups.place(take(pool.own_extra, rows))) for rows in groups.rows]
        self._plan, self._groups = plan, groups

    def portions(self, epochs: range) -> Iterator[Portion]:
        """Yields one portion an epoch."""
        for epoch in epochs:
            work = batch_plan.plan_epoch(self._plan, epoch)
            parts = [work.row(rows) for rows in self._groups.rows]
            yield Portion(epoch, 0, True, self._data, parts, np.asarray(work.indices))
