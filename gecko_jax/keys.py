"""Named random streams: one seed, and an independent stream for each purpose.

`stream(seed, "init")` and `stream(seed, "batches", epoch)` are unrelated, and a new purpose changes none of the others.
JAX draws come from `stream`, host (NumPy) draws from `generator`; both are functions of the same words. Words are
hashed to 32 bits, so two purposes share a stream only by chance.

A seed that a person types (0..2^32-1) makes a study repeatable. It protects nothing, because anyone who knows or
guesses it draws the same noise and subtracts it. `secret_seed` draws one that nobody can guess, and `derived_seed`
makes one seed for each different use of a seed.
"""

from __future__ import annotations

import json
import secrets
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.checks import in_range, integer
from gecko_jax.digests import sha256

MAX_SEED = 2**32 - 1  # of a typed seed and of a counter, because JAX drops the higher bits without a word
SECRET_BITS = 128


def _word(part: str | int) -> int:
    return zlib.crc32(part.encode()) if isinstance(part, str) else int(in_range("word", part, 0, MAX_SEED))


def _sha256(content: bytes) -> bytes:
    return bytes.fromhex(sha256(content))


def secret_seed() -> int:
    """Draws a seed of 128 bits from the operating system's cryptographic generator.

    Keep it secret: privacy depends on it. It can be used wherever a seed can: `stream`, `generator`, `privacy.draw`.

    >>> secret_seed() == secret_seed()
    False
    """
    return secrets.randbits(SECRET_BITS) | 1 << SECRET_BITS - 1  # never so small as to pass for a typed one


def derived_seed(seed: int, **use: object) -> int:
    """Derives a 128-bit seed for one use of a seed, from the SHA-256 of the seed and of the use.

    Args:
      seed: in 0..2^32-1, or a `secret_seed()`.
      **use: what distinguishes this use from all others, in JSON's types. The order does not matter.

    Returns:
      An int, a pure function of the arguments; two different uses have unrelated seeds.

    Raises:
      ValueError: a seed out of range.

    >>> derived_seed(0, data="3f2a", steps=10) == derived_seed(0, data="3f2b", steps=10)
    False
    """
    text = json.dumps([checked_seed(seed), use], sort_keys=True)
    return int.from_bytes(_sha256(text.encode())[: SECRET_BITS // 8], "big") | 1 << SECRET_BITS - 1


def checked_seed(seed: int) -> int:
    """Checks that a seed is an integer in 0..2^32-1 or of `secret_seed`'s size, and returns it as a Python int.

    Args:
      seed: the seed.

    Raises:
      ValueError: another number.

    >>> checked_seed(7)
    7
    """
    if isinstance(seed, int) and seed >> SECRET_BITS - 1 == 1:
        return seed
    return integer("seed", in_range("seed", seed, 0, MAX_SEED), 0)


def checked_key(name: str, key: int | jax.Array) -> int | jax.Array:
    """Checks that a key is a seed, or one JAX key, typed or as its words, and returns it.

    Args:
      name: the argument's name, which the message shows.
      key: the seed or the key.

    Raises:
      ValueError: anything else, such as several keys.

    >>> checked_key("key", 7)
    7
    """
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        if isinstance(key, int) and key >> SECRET_BITS - 1 == 1:
            return key
        return integer(name, in_range(name, key, 0, MAX_SEED), 0)
    try:
        jax.random.fold_in(key, 0)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name}={key!r} is neither a seed nor one JAX key; expected an integer in 0..{MAX_SEED}, or "
            "jax.random.key(0)."
        ) from None
    return key


def _root(seed: int) -> jax.Array:
    if seed <= MAX_SEED:
        return jax.random.key(seed)
    shape = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0))).shape
    words = _sha256(seed.to_bytes(SECRET_BITS // 8, "big"))
    return jax.random.wrap_key_data(jnp.asarray(np.frombuffer(words, np.uint32)[: shape[0]]))


def cipher_words(seed: int) -> np.ndarray:
    """Returns a cipher's key of 256 bits for a seed, unrelated to the keys that JAX's generators get of the same seed.

    Args:
      seed: in 0..2^32-1, or a `secret_seed()`: the key is as hard to guess as the seed.

    Returns:
      uint32 [8], from SHA-256.

    >>> cipher_words(secret_seed()).shape
    (8,)
    """
    return np.frombuffer(_sha256(b"cipher" + checked_seed(seed).to_bytes(SECRET_BITS // 8, "big")), np.uint32)


def stream(seed: int | jax.Array, *words: str | int) -> jax.Array:
    """Returns a JAX key for a purpose.

    Args:
      seed: an integer in 0..2^32-1, a `secret_seed()`, or a key to branch from.
      *words: what it is for: names and counters (0..2^32-1), in order.

    Returns:
      A typed key (`jax.random.key`), a pure function of the arguments.

    Raises:
      ValueError: a seed or a counter below 0 or above 2^32-1.

    >>> bool(stream(0, "init") == stream(0, "init", 0))
    False
    """
    key = _root(checked_seed(seed)) if isinstance(seed, (int, np.integer)) else seed
    for word in words:
        key = jax.random.fold_in(key, _word(word))
    return key


def generator(seed: int, *words: str | int) -> np.random.Generator:
    """Returns a NumPy generator for a purpose.

    Args:
      seed: an integer in 0..2^32-1, or a `secret_seed()`.
      *words: see `stream`.

    Raises:
      ValueError: a seed or a counter below 0 or above 2^32-1.

    >>> float(generator(0, "noise").uniform()) == float(generator(0, "noise", 0).uniform())
    False
    """
    # The words are the spawn key: a plain list of entropy would ignore a trailing 0, and epoch 0 would get no word.
    return np.random.default_rng(
        np.random.SeedSequence(checked_seed(seed), spawn_key=tuple(_word(word) for word in words))
    )
