"""Runs an epoch of Poisson batches in segments of a few steps, each in the fewest slots that hold its rows.

On a GPU a branch on the size of a batch stops the device in every step, and without it all slots are computed. But the
host has drawn the batches before the epoch starts. So it cuts the epoch into segments of equal length, and starts for
each the program that was compiled for the smallest sufficient size: no branch, and no transfer inside a step. A segment
is started while the one before it is computed.

The draws, the keys, the noise and the accounting are those of the whole epoch; sums agree up to rounding. Which sizes
are taken is a function of the batches alone, so that a resumed run repeats it. A CPU and a TPU branch where the value
is: there an epoch stays one program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.privacy.per_example.rows import branches_block
from gecko_jax.privacy.sampling import Sampling
from gecko_jax.privacy.slots import expected_slots, slot_sizes
from gecko_jax.training.batch_plan import BatchPlan
from gecko_jax.training.compiled_epoch import RunEpoch
from gecko_jax.training.layout import Layout
from gecko_jax.training.pool import Data
from gecko_jax.training.step import Epoch, State

SEGMENT_STEPS = (8, 4, 2, 1)  # a start costs the host about .1 ms; beyond 8 steps that is little
MAX_SLOTS_OVER_MEAN = 1.125  # expected slots over the mean batch: few runs then have more than 1.15, what is promised
MIN_GAIN = 1.05  # a shorter segment must save as much, if none keeps the promise (many models side by side)
MIN_STEPS_OF_RUN = 200  # a shorter run would spend more time on compiling several sizes than it saves


class Segmentation(NamedTuple):
    """How an epoch is divided.

    Attributes:
      steps: of each segment; what is left of the epoch is a segment of its own, in all slots.
      sizes: numbers of slots that programs are compiled for, in rising order.
    """

    steps: int
    sizes: tuple[int, ...]


def segmentation(sampling: Sampling | None, steps: int, models: int) -> Segmentation | None:
    """Chooses how the epochs of a run are divided on the default backend, None: not at all.

    Args:
      sampling: how batches are drawn; None: passes over all members, which have no padding worth a choice.
      steps: of an epoch.
      models: side by side in one program.

    >>> from gecko_jax.privacy.sampling import poisson
    >>> segmentation(poisson(60_000, 256, 14_040), steps=234, models=1) is None  # on a CPU
    True
    """
    if sampling is None or not branches_block() or sampling.steps < MIN_STEPS_OF_RUN:
        return None
    division = divide(sampling, steps, models)
    return division if len(division.sizes) > 1 else None


def divide(sampling: Sampling, steps: int, models: int) -> Segmentation:
    """Divides an epoch into the longest segments of SEGMENT_STEPS that waste few slots.

    The expected slots are at most MAX_SLOTS_OVER_MEAN times the mean batch, or within MIN_GAIN of those of single
    steps. The largest batch of a segment decides, over its steps and over all models.

    Args:
      sampling, steps, models: see `segmentation`.

    >>> from gecko_jax.privacy.sampling import poisson
    >>> divide(poisson(60_000, 256, 14_040), steps=234, models=1)
    Segmentation(steps=6, sizes=(256, 272, 288, 304, 320, 399))
    """
    sizes = slot_sizes(sampling)
    relative = {
        length: expected_slots(sampling, sizes, length * models) / sampling.batch_size for length in SEGMENT_STEPS
    }
    bound = max(MAX_SLOTS_OVER_MEAN, MIN_GAIN * relative[1])
    most = min(max(length for length, slots in relative.items() if slots <= bound), steps)
    # Of the lengths about it, the one that leaves the fewest steps over.
    return Segmentation(min(range(most, most // 2, -1), key=lambda length: steps % length), sizes)


def segments(weight: np.ndarray, division: Segmentation) -> Iterator[tuple[int, int, int]]:
    """Yields (first step, step after the last, slots) of each segment of an epoch.

    Args:
      weight: [m, steps, slots] of the models side by side; real rows come first.
      division: of the epoch.
    """
    steps, cap = weight.shape[1:]
    rows = np.count_nonzero(weight, axis=2).max(axis=0)
    sizes = (*(size for size in division.sizes if size < cap), cap)
    for first in range(0, steps, division.steps):
        last = min(first + division.steps, steps)
        full = last - first < division.steps  # another length is another program: one, and not one for each size
        yield first, last, cap if full else sizes[int(np.searchsorted(sizes, rows[first:last].max()))]


def by_segments(run_epoch: RunEpoch, place: Callable[[Any], Any], plan: BatchPlan, layout: Layout) -> RunEpoch:
    """Builds (states, data, epochs) -> (states, metrics [width, steps]) of epochs that are still on the host.

    Args:
      run_epoch: the compiled epoch; see `compiled_epoch`.
      place: puts a group's Epoch on the devices, whole batches or divided ones.
      plan: how the epochs are filled.
      layout: of the group; a batch whose rows are divided among devices is not cut, because not every size divides.
    """
    division = segmentation(plan.sampling, int(plan.steps.max()), layout.width) if layout.split == 1 else None
    if division is None:
        return lambda states, data, epochs: run_epoch(states, data, place(epochs))

    def run(states: State, data: Data, epochs: Epoch):
        columns, before = [], np.int32(0 if epochs.first is None else epochs.first)
        for first, last, slots in segments(np.asarray(epochs.weight), division):
            indices, weight = (each[:, first:last, :slots] for each in (epochs.indices, epochs.weight))
            part = epochs._replace(indices=indices, weight=weight, first=before + np.int32(first))
            states, metrics = run_epoch(states, data, place(part))
            columns.append(metrics)
        return states, jax.tree.map(lambda *each: jnp.concatenate(each, axis=1), *columns)

    return run
