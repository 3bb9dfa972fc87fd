"""ChaCha20 (RFC 8439) in XLA's integer operations: key stream on any device, inside jit, scan and vmap.

    key_stream(key, nonce, counters)     the cipher: 16 words for each counter
    random_words(key, nonce, count)      the stream of counters 0, 1, ..., as one array

ChaCha20 and not AES: it needs additions, exclusive ors and rotations alone, which every device has on vectors of 32-bit
words, some 100 operations a word. AES without its own instructions, which XLA does not know, is computed by looking up
tables, slowly and in a time that tells about the key, or bit by bit, with two to three times as many operations.

The 20 rounds are a loop on a CPU, where XLA would compute them once for each of the 16 words, and are written out on an
accelerator, where every turn of a loop is a launch or more. The words are the same bits on all devices.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gecko_jax import checks
from gecko_jax.types import Array

KEY_WORDS, NONCE_WORDS, BLOCK_WORDS = 8, 3, 16
MAX_BLOCKS = 2**32  # the counter is one word: with more blocks, it would begin again
BLOCKS_PER_CHUNK = 4096  # their states, 256 KiB, stay in a CPU's cache through all rounds
_CONSTANTS = np.frombuffer(b"expand 32-byte k", "<u4")
_COLUMNS = (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)
_DIAGONALS = (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)
_ROUNDS = 20


def _rotated(word: jax.Array, bits: int) -> jax.Array:
    return (word << np.uint32(bits)) | (word >> np.uint32(32 - bits))


@jax.jit  # so that its 80 uses are traced once
def _quarter_round(a: jax.Array, b: jax.Array, c: jax.Array, d: jax.Array) -> tuple[jax.Array, ...]:
    """RFC 8439, section 2.1."""
    for first, second in ((16, 12), (8, 7)):
        a = a + b
        d = _rotated(d ^ a, first)
        c = c + d
        b = _rotated(b ^ c, second)
    return a, b, c, d


def _written_out(*state: jax.Array) -> list[jax.Array]:
    mixed = list(state)
    for places in (*_COLUMNS, *_DIAGONALS) * (_ROUNDS // 2):
        new = _quarter_round(*(mixed[place] for place in places))
        for place, word in zip(places, new, strict=True):
            mixed[place] = word
    return mixed


def _in_a_loop(*state: jax.Array) -> list[jax.Array]:
    """Computes two rounds in each turn, each on four columns at once.

    The rows are shifted between the two, so that diagonals are columns, and back after them. With one round in a turn
    the shift would depend on its number: such a gather takes longer than one of constant places.
    """

    def shifted(rows: tuple[jax.Array, ...], way: int) -> tuple[jax.Array, ...]:
        return rows[0], *(jnp.take(rows[by], (np.arange(4) + by * way) % 4, axis=0, mode="clip") for by in (1, 2, 3))

    def two_rounds(_, rows: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        return shifted(_quarter_round(*shifted(_quarter_round(*rows), 1)), -1)

    rows = tuple(jnp.stack(state[start : start + 4]) for start in (0, 4, 8, 12))
    rows = lax.fori_loop(0, _ROUNDS // 2, two_rounds, rows)
    return [row[place] for row in rows for place in range(4)]


def key_stream(key: Array, nonce: Array, counters: Array) -> jax.Array:
    """Computes blocks of ChaCha20's key stream.

    Whoever does not know the key cannot tell the words from uniform ones, as long as no (key, nonce, counter) is used
    twice.

    Args:
      key: uint32 [8], the key's bytes as little-endian words.
      nonce: uint32 [3].
      counters: uint32 of any shape.

    Returns:
      uint32 [16, *shape of counters], the words of each counter's block.

    Raises:
      ValueError: words of another number or type.

    Source: RFC 8439, "ChaCha20 and Poly1305 for IETF Protocols", sections 2.1 to 2.3; its vectors are the tests.

    >>> block = key_stream(jnp.zeros(8, jnp.uint32), jnp.zeros(3, jnp.uint32), jnp.zeros((), jnp.uint32))
    >>> np.asarray(block[:2]).astype("<u4").tobytes().hex()  # RFC 8439, appendix A.1, vector 1
    '76b8e0ada0f13d90'
    """
    named = {"key": (key, (KEY_WORDS,)), "nonce": (nonce, (NONCE_WORDS,)), "counters": (counters, jnp.shape(counters))}
    for name, (words, shape) in named.items():
        checks.shape(name, words, shape)
        if jnp.result_type(words) != jnp.uint32:
            raise ValueError(f"{name} has dtype {jnp.result_type(words)}; expected uint32, the words of the cipher.")
    counters = jnp.asarray(counters)
    words = [*_CONSTANTS, *(key[i] for i in range(KEY_WORDS)), counters, *(nonce[i] for i in range(NONCE_WORDS))]
    state = [jnp.broadcast_to(jnp.asarray(word, jnp.uint32), counters.shape) for word in words]
    mixed = lax.platform_dependent(*state, cpu=_in_a_loop, default=_written_out)
    return jnp.stack([word + before for word, before in zip(mixed, state, strict=True)])


def random_words(key: Array, nonce: Array, count: int) -> jax.Array:
    """Computes the first words of a key stream, each once, in an order that depends on their number alone.

    The order is not the RFC's, whose transposition would cost as much as the cipher.

    Args:
      key, nonce: see `key_stream`; never used before.
      count: words, 0 to 2^36.

    Returns:
      uint32 [count].

    Raises:
      ValueError: more words than the counter has blocks for.

    >>> random_words(jnp.zeros(8, jnp.uint32), jnp.zeros(3, jnp.uint32), 5).shape
    (5,)
    """
    blocks = -(-checks.integer("count", count, 0) // BLOCK_WORDS)
    if blocks > MAX_BLOCKS:
        raise ValueError(
            f"count={count:,} words need {blocks:,} blocks of one key, and the counter has {MAX_BLOCKS:,}: it would "
            "begin again, and noise would be used twice. Draw for parts of the tree, each with a key of its own."
        )
    chunks = max(-(-blocks // BLOCKS_PER_CHUNK), 1)
    width = -(-blocks // chunks)
    counters = jnp.arange(chunks * width, dtype=jnp.uint32).reshape(chunks, width)

    def by_chunks(key, nonce, counters):
        return lax.map(lambda row: key_stream(key, nonce, row), counters)

    def at_once(key, nonce, counters):
        return jnp.swapaxes(key_stream(key, nonce, counters), 0, 1)

    if chunks == 1:
        stream = at_once(key, nonce, counters)
    else:
        stream = lax.platform_dependent(key, nonce, counters, cpu=by_chunks, default=at_once)
    return stream.reshape(-1)[:count]
