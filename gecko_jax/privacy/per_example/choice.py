"""Chooses the way to a clipped sum, and how many examples are computed at a time, on this device.

On a CPU that is book-keeping, and a microbatch from constants that were measured there (`microbatch`).

On an accelerator all examples are computed at once if their values fit the room that the device has for a batch
(`devices.batch_room`), else the largest power of two that does. An example's values are those of its forward pass, the
cotangents and windows at sites, and the gradients that are formed. The way is "vmap" if book-keeping forms nearly all
gradients as well. On an H200 a transformer (.85 of the parameters formed) took 2.1 ms by vmap and 2.3 by book-keeping,
a CNN (.36) 1.4 times as long by vmap, and an MLP (none) 5 times as long.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gecko_jax import devices
from gecko_jax.privacy.per_example.bookkeeping import bookkeep
from gecko_jax.privacy.per_example.microbatch import MAX_FLOATS, bytes_of_one, microbatch_of, power_of_two

MIN_FORMED_SHARE_FOR_VMAP = 0.75  # of the parameters' numbers
BYTES_OF_FLOAT = 4


class Choice(NamedTuple):
    """How a clipped sum is computed.

    Attributes:
      method: "bookkeeping" or "vmap".
      microbatch: examples at a time.
    """

    method: str
    microbatch: int


def choose(
    method: str, microbatch: int | None, function: Callable[..., Any], params: Any, examples: Any, size: int
) -> Choice:
    """Chooses what the caller left open.

    Args:
      method: of `clipped_sum`; "auto" is left open.
      microbatch: of `clipped_sum`; None is left open if the method is.
      function, params, examples: as of `bookkeeping.bookkeep`.
      size: rows of the batch.
    """
    if method != "auto":
        return Choice(method, microbatch or size)
    if not devices.is_accelerator():
        return Choice("bookkeeping", microbatch or microbatch_of(function, params, examples, size))
    numbers = [math.prod(jnp.shape(leaf)) for leaf in jax.tree.leaves(params)]
    formed = sum(
        n for n, is_formed in zip(numbers, formed_leaves(function, params, examples), strict=True) if is_formed
    )
    is_tied = formed >= MIN_FORMED_SHARE_FOR_VMAP * sum(numbers)
    way, formed = ("vmap", sum(numbers)) if is_tied else ("bookkeeping", formed)
    if microbatch is None:
        microbatch = fitting(bytes_of_one(function, params, examples) + BYTES_OF_FLOAT * formed, size)
    return Choice(way, microbatch)


def fitting(bytes_of_example: int, size: int) -> int:
    """Returns how many examples are computed at a time: all of them if there is room, else a power of two.

    Args:
      bytes_of_example: what one example has in memory.
      size: rows of the batch.
    """
    room = devices.batch_room() or devices.Room(BYTES_OF_FLOAT * MAX_FLOATS, BYTES_OF_FLOAT * MAX_FLOATS)
    usual, now = (power_of_two(each // max(bytes_of_example, 1), size) for each in room)
    if now < usual:
        warnings.warn(
            f"Little of the device's memory is free: {now} examples are computed at a time instead of {usual}, so that "
            "sums differ from those of another run in rounding. Free some memory, or pass "
            f"microbatch={now} to compute so in every run.",
            stacklevel=2,
        )
    return now


def formed_leaves(function: Callable[..., Any], params: Any, examples: Any) -> tuple[bool, ...]:
    """Tells for each parameter whether book-keeping forms every example's gradient of it; nothing is computed."""
    formed: list[tuple[bool, ...]] = []

    def run(params, examples):
        books = bookkeep(function, params, examples)
        formed.append(books.formed)
        return books.squared

    two = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((2, *leaf.shape[1:]), leaf.dtype), examples)
    jax.eval_shape(run, params, two)
    return formed[0]
