"""Selects which rows of a batch are computed, and how many at a time: padding at its end costs little or nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gecko_jax.devices import rows_over_processes
from gecko_jax.types import Array

MIN_ROWS_FOR_SIZE_SWITCH = 256  # rows of a batch from which programs for several sizes are compiled


class ClippedSum(NamedTuple):
    """The clipped sum over some rows.

    Attributes:
      sum: in the tree of the parameters, float32 at least (a sum that is rounded to half precision moves by more than
        one example's share); not divided, and without noise.
      norms: gradient norms before clipping, [b] ([b, groups] if the rule has groups), 0 for padding; not private.
      results: what the loss function returned for each example, [b, ...]; not private, and undefined for padding.
    """

    sum: Any
    norms: Array
    results: Any


PartSum = Callable[[Any, Array], ClippedSum]  # (examples, weight), some rows of a batch -> their sum


def by_row(function: Callable[[Array], Array], rows: Array) -> Array:
    """Applies a function of [1, groups] to each row of [b, groups] alone: no rule sees the batch or its size."""
    return jax.vmap(lambda row: function(row[None])[0])(rows)


@jax.custom_batching.custom_vmap
def shared(count: Array) -> Array:
    """Returns the count; under vmap the largest one, for all: loops and branches on it stay loops and branches."""
    return count


@shared.def_vmap
def _largest(axis_size, batched, count):
    del axis_size
    return (jnp.max(count) if batched[0] else count), False


def real_rows(weight: Array) -> Array:
    """Counts the rows up to the last real one, over all models if several train side by side."""
    return shared(jnp.max(jnp.where(weight > 0, jnp.arange(1, len(weight) + 1), 0)))


def branches_block() -> bool:
    """Returns whether a branch on a computed value stops the device: on a GPU XLA copies its index to the host.

    The host waits for all that was launched before, and launches the branch afterwards. On a CPU and on a TPU the
    branch is taken where the value is.

    Source: openxla/xla, xla/backends/gpu/runtime/conditional_thunk.cc (`BlockHostUntilDone`).
    """
    return jax.default_backend() == "gpu"


def sizes(expected: float | None, size: int) -> tuple[int, ...]:
    """Lists the sizes that a Poisson batch may be cut to: its mean, one and two deviations more, or all slots.

    Half of the batches are no larger than the mean. The slots are made for the largest batch of a run, which is half as
    large again. On a GPU all slots are computed, because a branch costs more than the padding of a small network
    (measured on an H200: 1.98 times the exact size against 1.04); `training.fit` hands over fewer slots there
    (`training.segments`). A batch over several processes is not cut.

    Args:
      expected: mean number of real rows; None if batches have no padding.
      size: slots of a batch.
    """
    if expected is None or size < MIN_ROWS_FOR_SIZE_SWITCH or rows_over_processes() or branches_block():
        return (size,)
    steps = (math.ceil(expected + deviations * math.sqrt(expected)) for deviations in (0, 1, 2))
    return (*(rows for rows in steps if rows < size), size)


def with_static_sizes(part: PartSum, examples: Any, weight: Array, choices: tuple[int, ...]) -> ClippedSum:
    """Computes part(examples, weight) on the smallest of `choices` rows that holds all real ones."""

    def cut_to(rows):
        def padded(leaf):
            return jnp.pad(leaf, ((0, len(weight) - rows), *[(0, 0)] * (leaf.ndim - 1)))

        def run():
            one = part(jax.tree.map(lambda leaf: leaf[:rows], examples), weight[:rows])
            return one._replace(norms=padded(one.norms), results=jax.tree.map(padded, one.results))

        return run

    choice = jnp.searchsorted(jnp.array(choices), real_rows(weight))
    return lax.switch(choice, [cut_to(rows) for rows in choices])


def by_microbatches(part: PartSum, examples: Any, weight: Array | None, size: int, microbatch: int) -> ClippedSum:
    """Computes part(examples, weight) in microbatches up to the last real row: padding costs nothing."""
    count = math.ceil(size / microbatch)
    real = jnp.ones(size, bool) if weight is None else weight
    last = real_rows(real)

    def filled(leaf, fill):
        missing = count * microbatch - size
        return jnp.concatenate([leaf, jnp.broadcast_to(fill, (missing, *leaf.shape[1:]))]) if missing else leaf

    examples = jax.tree.map(lambda leaf: filled(leaf, leaf[:1]), examples)
    real = filled(real, jnp.zeros((), real.dtype))

    def cut(leaf, number):
        return lax.dynamic_slice_in_dim(leaf, number * microbatch, microbatch)

    def body(number, so_far):
        def put(old, new):
            return lax.dynamic_update_slice_in_dim(old, new, number * microbatch, 0)

        one = part(jax.tree.map(lambda leaf: cut(leaf, number), examples), cut(real, number))
        rows = jax.tree.map(put, so_far[1:], one[1:])
        return ClippedSum(jax.tree.map(jnp.add, so_far.sum, one.sum), *rows)

    shapes = jax.eval_shape(part, jax.tree.map(lambda leaf: leaf[:microbatch], examples), real[:microbatch])
    rows = jax.tree.map(lambda s: jnp.zeros((count * microbatch, *s.shape[1:]), s.dtype), tuple(shapes)[1:])
    start = ClippedSum(jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes.sum), *rows)
    done = lax.fori_loop(0, -(-last // microbatch), body, start)
    return ClippedSum(done.sum, *jax.tree.map(lambda leaf: leaf[:size], tuple(done)[1:]))
