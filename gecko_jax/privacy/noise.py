"""Gaussian noise for the private sum, from JAX's generator or from a cryptographic one.

    gaussian(key, sums, std)                 JAX's generator (threefry): repeatable
    chacha_gaussian(key, sums, std)          ChaCha20 on the device, in cipher_noise.py: the fastest that is secure
    gaussian_from_words(words, sums, std)    inside a compiled step that is given words = source(words_needed(sums))
    secure_gaussian(source)(key, sums, std)  inside a compiled step, a scan too: the host is asked at every execution

An adversary who guesses the state of the generator subtracts the noise. Threefry keyed by 64 bits from a seed is good
enough to study privacy; to promise it, use ChaCha20, or a source of the host: `os_words`, the faster `aes_words`.

Guarantee: every entry gets an independent draw from N(0, std^2), one for each leaf, model and key. No source is
hardened against the rounding of floating point (Mironov, CCS 2012): float32 sums are not a discrete Gaussian mechanism.

| std | noise |
|---|---|
| 0 | 0: nothing is private; `epsilon` says infinity |
| below 1.2e-38 (subnormal in float32) | 0 on most devices |
| NaN, infinite | NaN, infinite: `private_gradients` refuses such a multiplier |

A tree without entries gets none; a leaf of half precision gets float32 noise, because float16 would round it away.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback

from gecko_jax import checks, extras
from gecko_jax.types import Array

Words = Callable[[int], np.ndarray]  # count -> uint32 [count] that nobody can predict, never used before

# Rational approximation of the normal quantile, single precision: Wichura's PPND7. Lowest power first.
_CENTER = (3.3871327179, 50.434271938, 159.29113202, 59.109374720), (1.0, 17.895169469, 78.757757664, 67.187563600)
_TAIL = (1.4234372777, 2.7568153900, 1.3067284816, 0.17023821103), (1.0, 0.73700164250, 0.12021132975)


def _ratio(r: jax.Array, coefficients: tuple[tuple[float, ...], tuple[float, ...]]) -> jax.Array:
    above, below = (jnp.polyval(jnp.asarray(c[::-1], jnp.float32), r) for c in coefficients)
    return above / below


def normals_from_bits(bits: Array) -> jax.Array:
    """Maps 32-bit words to standard normals, by the inverse distribution function.

      z = Phi^-1((word + 1/2) / 2^32)

    Both tails are taken from the word as an integer, before rounding to float32 can lose them: the probability is never
    0 or 1, and |z| is at most 6.34, which exact normals exceed once in 4e9 draws (JAX's own, from a uniform float32,
    are at most 5.4). The relative error is below 1e-6.

    Args:
      bits: uint32, any shape, uniform.

    Returns:
      float32 of the same shape.

    Raises:
      ValueError: bits of another type.

    Source: Wichura, "Algorithm AS 241: the percentage points of the normal distribution" (Applied Statistics 37, 1988),
      PPND7.

    Example:
      >>> [f"{z:.4f}" for z in normals_from_bits(np.array([2**31 - 2**29, 2**31 + 2**29 - 1], np.uint32)).tolist()]
      ['-0.3186', '0.3186']
    """
    bits = jnp.asarray(bits)
    if bits.dtype != jnp.uint32:
        raise ValueError(f"bits has dtype {bits.dtype}; expected uint32, 32 random bits for each normal.")
    signed = jax.lax.bitcast_convert_type(bits ^ jnp.uint32(1 << 31), jnp.int32)  # word - 2^31
    side = jnp.where(signed < 0, ~signed, signed)  # 0 at the median, 2^31 - 1 at the end, on either side
    q = (side.astype(jnp.float32) + 0.5) * 2.0**-32  # |probability - 1/2|
    tail = ((jnp.int32(2**31 - 1) - side).astype(jnp.float32) + 0.5) * 2.0**-32  # 1/2 - q, to full relative precision
    center = q * _ratio(0.180625 - q * q, _CENTER)
    z = jnp.where(q <= 0.425, center, _ratio(jnp.sqrt(-jnp.log(tail)) - 1.6, _TAIL))
    return jnp.where(signed < 0, -z, z)


def _dtype(leaf: Any) -> Any:
    """Returns the leaf's dtype, at least float32: half precision would round the noise away in the sum."""
    return jnp.promote_types(jnp.result_type(leaf), jnp.float32)


def gaussian(key: Array, tree: Any, std: float | Array) -> Any:
    """Draws independent Gaussian noise for each entry of a tree, with JAX's generator.

    Args:
      key: a JAX key, a new one for each step. Each leaf gets a key of its own, split from it.
      tree: arrays (or jax.ShapeDtypeStruct), whose shapes the noise has.
      std: standard deviation of each entry: noise multiplier * sensitivity.

    Returns:
      The noise alone, a tree like `tree` in float32 or wider. A function of (key, shapes, std).

    >>> gaussian(jax.random.key(0), {"kernel": jnp.zeros((2, 3))}, std=0.5)["kernel"].shape
    (2, 3)
    """
    leaves, treedef = jax.tree.flatten(tree)
    keys = jax.random.split(key, max(len(leaves), 1))
    noise = [std * jax.random.normal(keys[i], leaf.shape, _dtype(leaf)) for i, leaf in enumerate(leaves)]
    return jax.tree.unflatten(treedef, noise)


def words_needed(tree: Any) -> int:
    """Counts the words that `gaussian_from_words` needs for a tree: one for each entry."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def gaussian_from_words(words: Array, tree: Any, std: float | Array) -> Any:
    """Draws independent Gaussian noise for each entry of a tree, from random words.

    Args:
      words: uint32 [words_needed(tree)], from a source of this module, never used before.
      tree: arrays (or jax.ShapeDtypeStruct), whose shapes the noise has.
      std: standard deviation of each entry: noise multiplier * sensitivity.

    Returns:
      The noise alone, a tree like `tree` in float32 or wider.

    Raises:
      ValueError: for another number or type of words.
    """
    checks.shape("words", words, (words_needed(tree),))
    leaves, treedef = jax.tree.flatten(tree)
    normals, noise, start = normals_from_bits(words), [], 0
    for leaf in leaves:
        size = math.prod(leaf.shape)
        noise.append(std * normals[start : start + size].reshape(leaf.shape).astype(_dtype(leaf)))
        start += size
    return jax.tree.unflatten(treedef, noise)


def secure_gaussian(source: Words) -> Callable[[Array, Any, Any], Any]:
    """Builds a noise function on a cryptographic source: `gaussian`, with new noise at every execution.

    Works under jit, scan and vmap by calling back to the host, in one process (several would each draw their own).
    Under vmap, each model gets noise of its own, whether its keys, sums or std are mapped. The key is not used. A run
    cannot be repeated, which is the point: a run that is killed goes on with new noise.

    Args:
      source: `os_words` or `aes_words()`.

    Returns:
      (key, tree, std) -> noise, as `gaussian`.

    >>> noise = secure_gaussian(os_words)
    >>> noise(jax.random.key(0), jnp.zeros(3), 1.0).shape
    (3,)
    """

    def draw(key: Array, tree: Any, std: float | Array) -> Any:
        count = words_needed(tree)
        shape = jax.ShapeDtypeStruct((count,), jnp.uint32)
        # Whatever may be mapped goes along, for its batch axis alone: without one, vmap would make one call and share
        # its words among all models.
        firsts = [leaf.ravel()[:1] for leaf in jax.tree.leaves(tree) if isinstance(leaf, (jax.Array, np.ndarray))]
        mapped = (jax.random.key_data(key), jnp.asarray(std), firsts)
        words = io_callback(lambda *_: source(count), shape, *mapped)
        return gaussian_from_words(words, tree, std)

    draw.is_cryptographic = True
    return draw


def os_words(count: int) -> np.ndarray:
    """Returns words of the operating system's cryptographic generator: always available, slower than `aes_words`.

    Args:
      count: words, 0 or more.

    Returns:
      uint32 [count].

    >>> os_words(4).shape
    (4,)
    """
    return np.frombuffer(os.urandom(4 * int(checks.at_least("count", count, 0))), np.uint32)


def _aes_stream(key: bytes, start: bytes) -> Callable[[int], np.ndarray]:
    """Returns count -> the next words of AES-256's key stream in counter mode: the encryption of zeros."""
    extras.require("cryptography", "aes_words (unlike os_words)")
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    encryptor = Cipher(algorithms.AES(key), modes.CTR(start)).encryptor()

    zeros = bytes(1 << 16)  # small enough to stay in the cache

    def words(count: int) -> np.ndarray:
        out = np.empty(count, np.uint32)
        room = out.data.cast("B")
        for first in range(0, len(room), len(zeros)):
            piece = room[first : first + len(zeros)]
            encryptor.update_into(zeros[: len(piece)], piece)
        return out

    return words


def aes_words() -> Words:
    """Opens a source of words: AES-256 in counter mode, with a secret key from the operating system.

    All calls read one stream, and no word is returned twice; a forked process opens a stream of its own.

    Returns:
      A source: count -> uint32 [count]. Threads may share it.

    Raises:
      ImportError: without the package `cryptography`.

    >>> words = aes_words()
    >>> first, second = words(4), words(4)
    >>> first.dtype, first.shape, bool((first == second).all())
    (dtype('uint32'), (4,), False)
    """
    lock = threading.Lock()
    state: dict[str, Any] = {}

    def renew() -> None:
        # The key is new, so that the counter can start anywhere.
        state.update(process=os.getpid(), stream=_aes_stream(os.urandom(32), bytes(16)))

    def words(count: int) -> np.ndarray:
        checks.at_least("count", count, 0)
        with lock:
            if state["process"] != os.getpid():
                renew()
            return state["stream"](int(count))

    renew()
    return words
