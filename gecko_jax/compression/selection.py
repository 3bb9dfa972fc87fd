"""Selects exactly k of n scores without sorting them, which is slow on every device, and only if it is due."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.types import Array

T = TypeVar("T")
_SIGN_BIT = np.uint32(1 << 31)


def strongest(scores: Array, count: Array | int) -> Array:
    """Marks the `count` largest scores; of equal ones those that come first.

    The k-th largest is found bit by bit, in 32 counts over all scores.

    Args:
      scores: floats of any shape, without NaN; they are compared in float32.
      count: how many, 0 to scores.size; it may be traced.

    Returns:
      bool of the scores' shape, with exactly `count` marks.

    >>> strongest(jnp.array([2.0, 5.0, 2.0, 1.0]), 2).tolist()
    [True, True, False, False]
    """
    wide = jnp.asarray(scores, jnp.float32)
    bits = jax.lax.bitcast_convert_type(jnp.where(wide == 0, 0, wide), jnp.uint32).ravel()  # -0.0 equals 0.0
    ordered = jnp.where(bits >> 31 == 1, ~bits, bits | _SIGN_BIT)  # as integers they are ordered as floats are
    count = jnp.asarray(count, jnp.int32)

    def refine(step, bound):
        raised = bound | (_SIGN_BIT >> step.astype(jnp.uint32))
        return jnp.where(jnp.sum(ordered >= raised, dtype=jnp.int32) >= count, raised, bound)

    bound = jax.lax.fori_loop(0, 32, refine, jnp.uint32(0))
    above, equal = ordered > bound, ordered == bound
    room = count - jnp.sum(above, dtype=jnp.int32)
    return (above | (equal & (jnp.cumsum(equal, dtype=jnp.int32) <= room))).reshape(jnp.shape(scores))


def updated_if(due: Array, update: Callable[[T], T], value: T) -> T:
    """Returns update(value) if it is due, else the value, at no cost in the second case even under `jax.vmap`.

    `jax.lax.cond` under `jax.vmap` computes both branches in every step; a loop stops if no model needs it.

    Args:
      due: bool, may be traced.
      update: value -> value of the same shapes and types.
      value: a pytree of arrays.

    >>> updated_if(jnp.bool_(True), lambda number: number + 1, jnp.int32(3)).item()
    4
    """
    return jax.lax.while_loop(
        lambda carry: carry[0], lambda carry: (jnp.zeros_like(carry[0]), update(carry[1])), (jnp.asarray(due), value)
    )[1]
