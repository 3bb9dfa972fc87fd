"""Groups of models that one program trains side by side, placed on the devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from gecko_jax import devices, runtime
from gecko_jax.training.layout import Layout
from gecko_jax.trees import take

AXIS = "model"


def on_accelerator() -> bool:
    """Returns whether training runs beside the host's memory: states are made there, donated and copied back rarely."""
    return devices.is_accelerator()


class DeviceGroups:
    """Divides m models into groups. The last group repeats the last model until it is full.

    Attributes:
      rows: for each group the models in it, int [width].
      mesh: of its devices, along the axis of models; None for one device.
    """

    def __init__(self, layout: Layout, models: int):
        self.models = models
        starts = range(0, models, layout.width)
        self.rows = [np.minimum(np.arange(start, start + layout.width), models - 1) for start in starts]
        self.mesh: Any = None
        if layout.devices > 1:
            self.mesh = runtime.mesh(AXIS, jax.local_devices()[: layout.devices])

    def place(self, tree: Any) -> Any:
        """Spreads a group's tree over the devices by its leading axis of models; a scalar goes to each device."""
        return self._put(tree, lambda leaf: PartitionSpec(AXIS) if np.ndim(leaf) else PartitionSpec())

    def share(self, tree: Any) -> Any:
        """Copies a tree that all models read to each device."""
        return jax.device_put(tree) if self.mesh is None else self._put(tree, lambda leaf: PartitionSpec())

    def _put(self, tree: Any, spec) -> Any:
        if self.mesh is None:
            return tree
        return jax.device_put(tree, jax.tree.map(lambda leaf: NamedSharding(self.mesh, spec(leaf)), tree))

    def split(self, tree: Any) -> list[Any]:
        """Splits a tree with leading axis m into one placed tree a group, in arrays of their own."""
        return [self.place(take(tree, rows)) for rows in self.rows]

    def join(self, groups: Sequence[Any]) -> Any:
        """Joins the groups' trees into one tree of host arrays with leading axis m, which are nobody else's.

        All leaves are on their way before one is waited for. They are copied even if they lie in the host's memory,
        because a program may write the next states where these stand.
        """
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: self.models], *jax.device_get(list(groups)))
