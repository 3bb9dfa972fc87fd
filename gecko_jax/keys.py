"""Named random streams: one seed, and a stream for each purpose that no other purpose can disturb.

`stream(seed, "init")` and `stream(seed, "batches", epoch)` never collide, and adding a purpose changes no other one.
JAX draws come from `stream`, host (NumPy) draws from `generator`; both are functions of the same words.
"""

from __future__ import annotations

import zlib

import jax
import numpy as np


def _word(part: str | int) -> int:
    return zlib.crc32(part.encode()) if isinstance(part, str) else int(part) & 0xFFFFFFFF


def stream(seed: int | jax.Array, *words: str | int) -> jax.Array:
    """A JAX key for a purpose.

    Args:
      seed: an integer, or a key to branch from.
      *words: what it is for: names and counters, in order.

    Returns:
      A typed key (`jax.random.key`), a pure function of the arguments.
    """
    key = jax.random.key(seed) if isinstance(seed, (int, np.integer)) else seed
    for word in words:
        key = jax.random.fold_in(key, _word(word))
    return key


def generator(seed: int, *words: str | int) -> np.random.Generator:
    """A NumPy generator for a purpose; see `stream`."""
    return np.random.default_rng([int(seed), *(_word(word) for word in words)])
