"""Gaussian noise from ChaCha20 on the device that trains: no callback to the host, and a killed run goes on bit by bit.

Guarantee: to whoever does not know the run's secret, the words behind the noise are the key stream of ChaCha20 (RFC
8439) under a key of 256 bits, and nobody knows a way to tell that from uniform words with less work than trying keys.
Each entry of the noise has a word of its own, for every leaf, step, epoch and model:

| runs of | key | counter |
|---|---|---|
| `training.fit` | SHA-256 of the secret seed (128 bits of the system) and of what the run is | epoch and step |
| your own loop | `privacy.secret_key()`: 256 bits from the operating system | yours: fold in each step's number |

A run that is killed and goes on from its folder has the same key, kept there in `secret_seed`, and the step's number
from its checkpoint. Steps that are computed again get the same noise on the same sums: the same bits, and no second
release. Not covered: whoever reads the memory or that file, the rounding of floating point (Mironov, CCS 2012), and
the draw of batches, which NumPy makes from the same secret seed and which is not published.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from gecko_jax.privacy.cipher_keys import is_cipher_key
from gecko_jax.privacy.noise import gaussian_from_words, words_needed
from gecko_jax.types import Array


def chacha_gaussian(key: Array, tree: Any, std: float | Array) -> Any:
    """Draws independent Gaussian noise for each entry of a tree from ChaCha20's key stream, on the device.

    The `noise` of `private_gradients` and `private_training`: `training.fit` makes the keys that it needs.

    Args:
      key: a key of ChaCha20: `secret_key()`, or what `fold_in` or `split` makes of it. Never used before.
      tree: arrays (or jax.ShapeDtypeStruct), whose shapes the noise has.
      std: standard deviation of each entry: noise multiplier * sensitivity.

    Returns:
      The noise alone, a tree like `tree` in float32 or wider. A function of (key, shapes, std).

    Raises:
      ValueError: a key of another implementation, such as `jax.random.key(0)`.

    Source: RFC 8439; the normals are those of `noise.normals_from_bits`.

    >>> from gecko_jax.privacy import secret_key
    >>> chacha_gaussian(secret_key(), {"kernel": jnp.zeros((2, 3))}, std=0.5)["kernel"].shape
    (2, 3)
    """
    if not is_cipher_key(key):
        raise ValueError(
            f"key has type {key.dtype}, which is not a key of ChaCha20. In a loop of your own take "
            "privacy.secret_key(). A function of yours around privacy.chacha_gaussian must carry its attributes "
            "(functools.wraps), by which training.fit knows what keys to make."
        )
    return gaussian_from_words(jax.random.bits(key, (words_needed(tree),), jnp.uint32), tree, std)


chacha_gaussian.needs_cipher = True
chacha_gaussian.is_cryptographic = True
