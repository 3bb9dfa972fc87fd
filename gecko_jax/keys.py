"""Named random streams: one seed, and a stream for each purpose that no other purpose can disturb.

`stream(seed, "init")` and `stream(seed, "batches", epoch)` are unrelated, and adding a purpose changes no other one.
JAX draws come from `stream`, host (NumPy) draws from `generator`; both are functions of the same words. Words are
hashed to 32 bits, so two purposes meet by chance alone.
"""

from __future__ import annotations

import zlib

import jax
import numpy as np

from gecko_jax.checks import between

LARGEST = 2**32 - 1  # of a seed and of a counter: JAX drops the higher bits of a seed without a word


def _word(part: str | int) -> int:
    return zlib.crc32(part.encode()) if isinstance(part, str) else int(between("word", part, 0, LARGEST))


def stream(seed: int | jax.Array, *words: str | int) -> jax.Array:
    """A JAX key for a purpose.

    Args:
      seed: an integer in 0..2^32-1, or a key to branch from.
      *words: what it is for: names and counters (0..2^32-1), in order.

    Returns:
      A typed key (`jax.random.key`), a pure function of the arguments.

    Raises:
      ValueError: a seed or a counter that is negative or needs more than 32 bits.

    >>> bool(stream(0, "init") == stream(0, "init", 0))
    False
    """
    key = jax.random.key(between("seed", seed, 0, LARGEST)) if isinstance(seed, (int, np.integer)) else seed
    for word in words:
        key = jax.random.fold_in(key, _word(word))
    return key


def generator(seed: int, *words: str | int) -> np.random.Generator:
    """A NumPy generator for a purpose.

    Args:
      seed: an integer in 0..2^32-1.
      *words: see `stream`.

    Raises:
      ValueError: a seed or a counter that is negative or needs more than 32 bits.
    """
    # The words as a spawn key: in a plain list of entropy a trailing 0 is lost, and epoch 0 is no epoch at all.
    entropy = int(between("seed", seed, 0, LARGEST))
    return np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=tuple(_word(word) for word in words)))
