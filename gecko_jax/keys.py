"""Named random streams: one seed, and a stream for each purpose that no other purpose can disturb.

`stream(seed, "init")` and `stream(seed, "batches", epoch)` are unrelated, and adding a purpose changes no other one.
JAX draws come from `stream`, host (NumPy) draws from `generator`; both are functions of the same words. Words are
hashed to 32 bits, so two purposes meet by chance alone.

A seed that a person types (0..2^32-1) makes a study repeatable. It protects nothing: whoever knows or guesses it draws
the same noise and subtracts it. `secret_seed` draws one that nobody can guess, and `derived_seed` makes one seed for
each different use of a seed, so that no two uses share their draws.
"""

from __future__ import annotations

import json
import secrets
import zlib

import jax
import numpy as np

from gecko_jax.checks import in_range, integer
from gecko_jax.digests import sha256

LARGEST = 2**32 - 1  # of a typed seed and of a counter: JAX drops the higher bits of a seed without a word
SECRET_BITS = 128


def _word(part: str | int) -> int:
    return zlib.crc32(part.encode()) if isinstance(part, str) else int(in_range("word", part, 0, LARGEST))


def _sha256(content: bytes) -> bytes:
    return bytes.fromhex(sha256(content))


def secret_seed() -> int:
    """A seed of 128 bits from the operating system's cryptographic generator, which nobody can guess.

    Keep it secret: it is what privacy rests on. It goes wherever a seed goes: `stream`, `generator`, `privacy.draw`.

    >>> secret_seed() == secret_seed()
    False
    """
    return secrets.randbits(SECRET_BITS) | 1 << SECRET_BITS - 1  # never so small as to pass for a typed one


def derived_seed(seed: int, **use: object) -> int:
    """A seed of 128 bits for one use of a seed: SHA-256 of the seed and of what the use is.

    Args:
      seed: in 0..2^32-1, or a `secret_seed()`.
      **use: whatever tells this use from all others, in JSON's types. The order does not matter.

    Returns:
      A pure function of the arguments; two different uses have unrelated seeds.

    Raises:
      ValueError: for a seed out of range.

    >>> derived_seed(0, data="3f2a", steps=10) == derived_seed(0, data="3f2b", steps=10)
    False
    """
    text = json.dumps([checked_seed(seed), use], sort_keys=True)
    return int.from_bytes(_sha256(text.encode())[: SECRET_BITS // 8], "big") | 1 << SECRET_BITS - 1


def checked_seed(seed: int) -> int:
    """seed as a Python int; ValueError unless it is one that can be typed, or one of `secret_seed`'s size."""
    if isinstance(seed, int) and seed >> SECRET_BITS - 1 == 1:
        return seed
    return integer("seed", in_range("seed", seed, 0, LARGEST), 0)


def checked_key(name: str, key: int | jax.Array) -> int | jax.Array:
    """key itself; ValueError unless it is a seed, or one JAX key, typed or as its words."""
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        if isinstance(key, int) and key >> SECRET_BITS - 1 == 1:
            return key
        return integer(name, in_range(name, key, 0, LARGEST), 0)
    try:
        jax.random.fold_in(key, 0)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name}={key!r} is neither a seed nor one JAX key; expected an integer in 0..{LARGEST}, or "
            "jax.random.key(0)."
        ) from None
    return key


def _root(seed: int) -> jax.Array:
    if seed <= LARGEST:
        return jax.random.key(seed)
    shape = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0))).shape
    words = _sha256(seed.to_bytes(SECRET_BITS // 8, "big"))
    return jax.random.wrap_key_data(np.frombuffer(words, np.uint32)[: shape[0]])


def stream(seed: int | jax.Array, *words: str | int) -> jax.Array:
    """A JAX key for a purpose.

    Args:
      seed: an integer in 0..2^32-1, a `secret_seed()`, or a key to branch from.
      *words: what it is for: names and counters (0..2^32-1), in order.

    Returns:
      A typed key (`jax.random.key`), a pure function of the arguments.

    Raises:
      ValueError: a seed or a counter that is negative or needs more than 32 bits.

    >>> bool(stream(0, "init") == stream(0, "init", 0))
    False
    """
    key = _root(checked_seed(seed)) if isinstance(seed, (int, np.integer)) else seed
    for word in words:
        key = jax.random.fold_in(key, _word(word))
    return key


def generator(seed: int, *words: str | int) -> np.random.Generator:
    """A NumPy generator for a purpose.

    Args:
      seed: an integer in 0..2^32-1, or a `secret_seed()`.
      *words: see `stream`.

    Raises:
      ValueError: a seed or a counter that is negative or needs more than 32 bits.
    """
    # The words as a spawn key: in a plain list of entropy a trailing 0 is lost, and epoch 0 would be no epoch at all.
    return np.random.default_rng(
        np.random.SeedSequence(checked_seed(seed), spawn_key=tuple(_word(word) for word in words))
    )
