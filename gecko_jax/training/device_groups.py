"""Groups of models that one program trains side by side, placed on the devices, of one process or of several.

A process puts its own part of an array on its devices, and no process sends any. What all need to know of a result (the
losses, the trained variables) is copied to all devices by a program, which all processes run.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from gecko_jax import devices, hosts, runtime
from gecko_jax.training.layout import Layout
from gecko_jax.training.step import Epoch
from gecko_jax.trees import take

AXIS, ROWS, COPIES = "model", "rows", "copies"
BYTES_PER_GATHER = 2**28  # that each device holds at once beside its own part


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
        self.models, self._layout = models, layout
        starts = range(0, models, layout.width)
        self.rows = [np.minimum(np.arange(start, start + layout.width), models - 1) for start in starts]
        self.mesh = mesh_of(layout)

    def place(self, tree: Any) -> Any:
        """Spreads a group's tree over the devices by its leading axis of models; a scalar goes to each device."""
        return self._put(tree, lambda leaf: PartitionSpec(AXIS) if np.ndim(leaf) else PartitionSpec())

    def place_epoch(self, epoch: Epoch) -> Epoch:
        """Spreads a group's rows and draws over the devices, and the rows of each batch if the layout divides them."""
        split = self._layout.split
        if split == 1:
            return self.place(epoch)
        missing = -np.shape(epoch.weight)[2] % split  # rows of weight 0, which the layout allows then
        padded = [np.pad(np.asarray(leaf), ((0, 0), (0, 0), (0, missing))) for leaf in (epoch.indices, epoch.weight)]
        divided = self._put(padded, lambda leaf: PartitionSpec(AXIS, None, ROWS))
        rest = self.place(epoch._replace(indices=None, weight=None))
        return rest._replace(indices=divided[0], weight=divided[1])

    def share(self, tree: Any) -> Any:
        """Copies a tree that all models read to each device."""
        return jax.device_put(tree) if self.mesh is None else self._put(tree, lambda leaf: PartitionSpec())

    def _put(self, tree: Any, spec) -> Any:
        if self.mesh is None:
            return tree
        if hosts.count() > 1:  # device_put would compare the processes' arrays, over the network
            return jax.tree.map(lambda leaf: _part(leaf, NamedSharding(self.mesh, spec(leaf))), tree)
        return jax.device_put(tree, jax.tree.map(lambda leaf: NamedSharding(self.mesh, spec(leaf)), tree))

    def split(self, tree: Any) -> list[Any]:
        """Splits a tree with leading axis m into one placed tree a group, in arrays of their own."""
        return [self.place(take(tree, rows)) for rows in self.rows]

    def join(self, groups: Sequence[Any]) -> Any:
        """Joins the groups' trees into one tree of host arrays with leading axis m, which are nobody else's.

        All leaves are on their way before one is waited for. They are copied even if they lie in the host's memory,
        because a program may write the next states where these stand.
        """
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: self.models], *self.on_host(list(groups)))

    def on_host(self, tree: Any) -> Any:
        """Returns a tree of placed arrays as host arrays, in every process."""
        if hosts.count() == 1:
            return jax.device_get(tree)
        leaves, structure = jax.tree.flatten(tree)
        return jax.tree.unflatten(structure, _gathered(leaves, self.mesh))


@functools.lru_cache(maxsize=16)
def mesh_of(layout: Layout) -> Any:
    """Returns the mesh of a layout, along the axes of models, rows and copies; None for one device.

    In a single process it has the axis of models alone.
    """
    if hosts.count() > 1:
        types = (AxisType.Auto,) * 3
        return jax.make_mesh((layout.devices, layout.split, layout.copies), (AXIS, ROWS, COPIES), axis_types=types)
    return runtime.mesh(AXIS, jax.local_devices()[: layout.devices]) if layout.devices > 1 else None


def _part(leaf: Any, sharding: NamedSharding) -> jax.Array:
    """Returns an array that all processes have on the host, each of its parts on the devices that it belongs to."""
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    leaf = np.asarray(leaf)
    leaf = leaf.astype(jax.dtypes.canonicalize_dtype(leaf.dtype), copy=False)
    return jax.make_array_from_callback(leaf.shape, sharding, lambda index: leaf[index])


def _gathered(leaves: Sequence[Any], mesh: Any) -> list[np.ndarray]:
    """Returns arrays as host arrays: those over several hosts are copied to all devices, some at a time."""
    far = [number for number, leaf in enumerate(leaves) if isinstance(leaf, jax.Array) and not _is_whole(leaf)]
    result = [None if number in far else np.array(leaf) for number, leaf in enumerate(leaves)]
    for numbers in _portions(far, leaves):
        copied = _everywhere(mesh)(*(leaves[number] for number in numbers))
        for number, leaf in zip(numbers, copied, strict=True):
            result[number] = np.array(leaf)
    return result  # pyright: ignore[reportReturnType]


def _is_whole(leaf: jax.Array) -> bool:
    return leaf.is_fully_addressable or leaf.is_fully_replicated


def _portions(numbers: Sequence[int], leaves: Sequence[Any]) -> Iterator[list[int]]:
    portion, size = [], 0
    for number in numbers:
        if portion and size + leaves[number].nbytes > BYTES_PER_GATHER:
            yield portion
            portion, size = [], 0
        portion.append(number)
        size += leaves[number].nbytes
    if portion:
        yield portion


@functools.lru_cache(maxsize=16)
def _everywhere(mesh: Any):
    return jax.jit(lambda *leaves: leaves, out_shardings=NamedSharding(mesh, PartitionSpec()))
