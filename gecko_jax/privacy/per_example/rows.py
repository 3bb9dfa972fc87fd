"""Which rows of a batch are worked on, and how many at a time: padding at its end costs little or nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gecko_jax.types import Array

WORTH_A_CHOICE = 256  # rows of a batch from which programs for several sizes are compiled


class Clipped(NamedTuple):
    """Attributes:
    sum: in the tree of the parameters, float32 at least (a sum that is rounded to half precision moves by more than one
      example's share); divided by nothing, no noise on it yet.
    norms: [b] gradient norms before clipping ([b, groups] where the rule has groups), 0 for padding; not private.
    results: what the loss function gave for each example, [b, ...]; not private, and unreliable at padding.
    """

    sum: Any
    norms: Array
    results: Any


def by_row(function: Callable[[Array], Array], rows: Array) -> Array:
    """function([1, groups]) of each row [b, groups] by itself: no rule sees the batch, nor how large it is."""
    return jax.vmap(lambda row: function(row[None])[0])(rows)


@jax.custom_batching.custom_vmap
def shared(count: Array) -> Array:
    """The count; under vmap the largest one, for all: loops and branches on it stay loops and branches."""
    return count


@shared.def_vmap
def _largest(axis_size, batched, count):
    del axis_size
    return (jnp.max(count) if batched[0] else count), False


def real_rows(weight: Array) -> Array:
    """Rows [b] up to the last one that is real: those of all models, where several train side by side."""
    return shared(jnp.max(jnp.where(weight > 0, jnp.arange(1, len(weight) + 1), 0)))


def sizes(expected: float | None, size: int) -> tuple[int, ...]:
    """Rows that a Poisson batch with slots for `size` may be cut to: its mean, one and two deviations more, or all.

    Half of the batches are no larger than the mean; the slots are for the largest of a whole run, half as many again.
    """
    if expected is None or size < WORTH_A_CHOICE or jax.process_count() > 1:  # a batch over processes is not cut up
        return (size,)
    steps = (math.ceil(expected + deviations * math.sqrt(expected)) for deviations in (0, 1, 2))
    return (*(rows for rows in steps if rows < size), size)


def in_sizes(part: Callable[..., Clipped], examples: Any, weight: Array, choices: tuple[int, ...]) -> Clipped:
    """part(examples, weight) on the fewest of `choices` rows that hold all real ones."""

    def of(rows):
        def run():
            one = part(jax.tree.map(lambda leaf: leaf[:rows], examples), weight[:rows])
            whole = lambda leaf: jnp.pad(leaf, ((0, len(weight) - rows), *[(0, 0)] * (leaf.ndim - 1)))  # noqa: E731
            return one._replace(norms=whole(one.norms), results=jax.tree.map(whole, one.results))

        return run

    which = jnp.searchsorted(jnp.array(choices), real_rows(weight))
    return lax.switch(which, [of(rows) for rows in choices])


def in_turns(part: Callable[..., Clipped], examples: Any, weight: Array | None, size: int, microbatch: int) -> Clipped:
    """By microbatches up to the last real row: padding at the end costs nothing."""
    turns = math.ceil(size / microbatch)
    real = jnp.ones(size, bool) if weight is None else weight
    last = real_rows(real)

    def whole(leaf, fill):
        short = turns * microbatch - size
        return jnp.concatenate([leaf, jnp.broadcast_to(fill, (short, *leaf.shape[1:]))]) if short else leaf

    examples = jax.tree.map(lambda leaf: whole(leaf, leaf[:1]), examples)
    real = whole(real, jnp.zeros((), real.dtype))

    def cut(leaf, turn):
        return lax.dynamic_slice_in_dim(leaf, turn * microbatch, microbatch)

    def body(turn, so_far):
        one = part(jax.tree.map(lambda leaf: cut(leaf, turn), examples), cut(real, turn))
        put = lambda old, new: lax.dynamic_update_slice_in_dim(old, new, turn * microbatch, 0)  # noqa: E731
        rows = jax.tree.map(put, so_far[1:], one[1:])
        return Clipped(jax.tree.map(jnp.add, so_far.sum, one.sum), *rows)

    shapes = jax.eval_shape(part, jax.tree.map(lambda leaf: leaf[:microbatch], examples), real[:microbatch])
    rows = jax.tree.map(lambda s: jnp.zeros((turns * microbatch, *s.shape[1:]), s.dtype), tuple(shapes)[1:])
    start = Clipped(jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes.sum), *rows)
    done = lax.fori_loop(0, -(-last // microbatch), body, start)
    return Clipped(done.sum, *jax.tree.map(lambda leaf: leaf[:size], tuple(done)[1:]))
