"""Keys of a cipher as JAX keys: 256 secret bits, whose splits and draws are ChaCha20's key stream.

    key = privacy.secret_key()                       from the operating system's generator; keep it secret
    gradients(variables, batch, jax.random.fold_in(key, step))

Such a key works wherever a JAX key does: `jax.random.split`, `fold_in`, `bits`, jit, vmap and scan. A key encrypts
counters 0, 1, ... under one of three nonces, and each nonce has one use:

| nonce | use | counter |
|---|---|---|
| (0, 0, 0) | `jax.random.bits` and all that draws from it | the block, below 2^32 or refused |
| (1, 0, 0) | `fold_in(key, number)`: 8 words of a block are the new key | the number |
| (2, 0, 0) | `split(key)`: 8 words of a block are a new key | which of them |

So two uses of a key share no block, and two keys are equal by chance alone (2^-256 for each pair), if no key is used
for the same thing twice: for two draws, or to fold in one number twice. `training.fit` keeps that rule. A loop of your
own keeps it by folding in its step's number, which a checkpoint must hold: with the number before a restart, the noise
of two steps would be the same.
"""

from __future__ import annotations

import math
import secrets
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import random as extended

from gecko_jax.keys import cipher_words
from gecko_jax.privacy.chacha import KEY_WORDS, NONCE_WORDS, key_stream, random_words
from gecko_jax.types import Array

_DRAW, _FOLD, _SPLIT = (np.array([use, 0, 0], np.uint32) for use in range(NONCE_WORDS))


def _refuse_seed(seed: Any) -> Any:
    raise ValueError(
        "a key of ChaCha20 does not follow from a seed of 32 or 64 bits, which can be tried one after another. Draw it "
        "from the operating system: privacy.secret_key()."
    )


def _random_bits(key: Array, bit_width: int, shape: tuple[int, ...]) -> jax.Array:
    size = math.prod(shape)
    if bit_width == 64:
        words = random_words(key, _DRAW, 2 * size).astype(jnp.uint64)
        return (words[:size] << np.uint64(32) | words[size:]).reshape(shape)
    return random_words(key, _DRAW, size).astype(f"uint{bit_width}").reshape(shape)


def _fold_in(key: Array, number: Array | int) -> jax.Array:
    return key_stream(key, _FOLD, jnp.asarray(number).astype(jnp.uint32))[:KEY_WORDS]


def _split(key: Array, shape: tuple[int, ...]) -> jax.Array:
    counters = jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(shape)
    return jnp.moveaxis(key_stream(key, _SPLIT, counters)[:KEY_WORDS], 0, -1)


CHACHA20: Any = extended.define_prng_impl(
    key_shape=(KEY_WORDS,),
    seed=_refuse_seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name="chacha20",
    tag="chacha20",
)


def secret_key() -> jax.Array:
    """Draws a 256-bit key from the operating system's cryptographic generator, for a training loop of your own.

    Keep it secret, and draw a new one for each run: two runs with one key share their noise.

    Returns:
      A JAX key, whose draws are ChaCha20's. `jax.random.key_data(key)` are its words, to store with a checkpoint.

    >>> key = secret_key()
    >>> jax.random.split(key).shape, bool((jax.random.key_data(key) == jax.random.key_data(secret_key())).all())
    ((2,), False)
    """
    return wrap_key(np.frombuffer(secrets.token_bytes(4 * KEY_WORDS), np.uint32))


def wrap_key(words: Array) -> jax.Array:
    """Returns the JAX key of words: one of ChaCha20 if there are 8 of them, else of JAX's default implementation.

    Args:
      words: uint32 [..., words of a key], as `jax.random.key_data` gives them.

    >>> wrap_key(np.zeros(8, np.uint32)).dtype, wrap_key(np.zeros(2, np.uint32)).dtype
    (key<chacha20>, key<fry>)
    """
    data: Any = jnp.asarray(words)
    return jax.random.wrap_key_data(data, impl=CHACHA20 if data.shape[-1] == KEY_WORDS else None)


def is_cipher_key(key: Any) -> bool:
    """Returns whether a key is one of ChaCha20."""
    return jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and jax.random.key_impl(key) == CHACHA20


def key_of_seed(seed: int) -> jax.Array:
    """Returns the ChaCha20 key of a secret seed: SHA-256 of its 128 bits, so that a folder that keeps it can go on."""
    return wrap_key(cipher_words(seed))


def step_keys(key: Any) -> tuple[Any, Any, Any]:
    """Returns the keys of a private step: of the loss, of the noise and of an adaptive rule's noised count.

    Args:
      key: of the step. One of ChaCha20 is itself the key of the noise and folds in 0 and 1 for the others, which cost
        nothing if they are not used. The loss gets a key of JAX's default implementation, which is faster: dropout and
        augmentation need no secrecy.
    """
    if not is_cipher_key(key):
        of_loss, of_noise, of_count = jax.random.split(key, 3)
        return of_loss, of_noise, of_count
    return plain_key(jax.random.fold_in(key, 0)), key, jax.random.fold_in(key, 1)


def plain_key(key: Any) -> Any:
    """Returns a key of JAX's default implementation: the first words of one of ChaCha20, which must not be used again.

    Args:
      key: any key; one that is not of ChaCha20 is returned as it is.
    """
    if not is_cipher_key(key):
        return key
    like = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0)))
    return jax.random.wrap_key_data(jax.random.key_data(key)[: like.shape[0]])


def needs_cipher(function: Any) -> bool:
    """Returns whether a noise function, or the GradFn that was built with it, draws from keys of ChaCha20 alone."""
    settings = getattr(function, "settings", None)
    return bool(getattr(function, "needs_cipher", False) or getattr(settings, "needs_cipher", False))


def key_shape(function: Any) -> Any:
    """Returns the shape of the key that a noise function or a GradFn is traced with: jax.ShapeDtypeStruct."""
    words = KEY_WORDS if needs_cipher(function) else None
    return jax.eval_shape(lambda: jax.random.key(0) if words is None else wrap_key(jnp.zeros(words, jnp.uint32)))
