"""Signs as bits: packing them, and counting the bits in which packed vectors differ.

Bit i of word j is element 32 j + i: 1 for +1, 0 for -1. The bits of the last word past n are ignored.

Population counts are slow if a CPU has no vector instruction for them. Up to 32 words are therefore first added bit by
bit with full adders (Harley & Seal; Mula, Kurz & Lemire 2018), and six counts replace 32. All of it is integer XLA.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax

from gecko_jax.types import Array

WORD_BITS = 32
WORDS_PER_ADDER = 32  # words whose bits one tree of full adders adds
_OUTPUTS_PER_TILE = 128  # 32 words of 128 outputs are 16 KiB, which fit into a first-level cache


def pack_signs(x: Array) -> Array:
    """Packs the signs of the last axis, 32 to a word; sign(0) = +1, and NaN counts as -1.

    Args:
      x: floats (or +-1 integers) [..., n].

    Returns:
      uint32 [..., ceil(n / 32)]; the bits past n are 0.

    >>> import jax.numpy as jnp
    >>> pack_signs(jnp.array([1.0, -1.0, 0.0, -2.0])).tolist()
    [5]
    """
    bits = x >= 0
    bits = jnp.pad(bits, [(0, 0)] * (bits.ndim - 1) + [(0, -bits.shape[-1] % WORD_BITS)])
    # Eight bits to a byte and a free bitcast, because XLA's CPU backend vectorizes this and not shifts of 32 bits.
    bits = bits.reshape(*bits.shape[:-1], -1, 4, 8)
    places = lax.broadcasted_iota(jnp.uint8, bits.shape, bits.ndim - 1)
    one_hot = bits.astype(jnp.uint8) << places
    octets = lax.reduce(one_hot, np.uint8(0), lax.bitwise_or, (one_hot.ndim - 1,))
    return lax.bitcast_convert_type(octets, jnp.uint32)


def pack_kernel(kernel: Array) -> Array:
    """Packs the signs of a Flax kernel in the layout that products read fastest.

    Args:
      kernel: floats (or +-1 integers) [..., in, out].

    Returns:
      uint32 [..., ceil(in / 32), out].

    >>> pack_kernel(jnp.array([[1.0, -1.0], [1.0, 1.0]])).tolist()
    [[3, 2]]
    """
    return jnp.moveaxis(pack_signs(jnp.moveaxis(kernel, -2, -1)), -1, -2)


def element_mask(n: int, rank: int, axis: int) -> Array:
    """Returns ceil(n / 32) words along `axis` of `rank`, with ones at the bits of elements."""
    mask = np.full(-(-n // WORD_BITS), 0xFFFFFFFF, np.uint32)
    mask[-1] = (1 << (n % WORD_BITS or WORD_BITS)) - 1
    return jnp.asarray(mask.reshape([-1 if i == axis else 1 for i in range(rank)]))


def differing_bits(a_words: Array, w_transposed: Array) -> Array:
    """Counts the bits in which a_words [b, w] and w_transposed [w, out] differ: int32 [b, out]."""
    rows, outputs = a_words.shape[0], w_transposed.shape[1]
    if rows < 8 or outputs <= _OUTPUTS_PER_TILE:
        return _differing_tile(a_words, w_transposed)

    def step(i, result):
        # The last tile may overlap the one before it, because dynamic slices are clamped alike in reads and writes.
        tile = lax.dynamic_slice_in_dim(w_transposed, i * _OUTPUTS_PER_TILE, _OUTPUTS_PER_TILE, axis=1)
        return lax.dynamic_update_slice_in_dim(result, _differing_tile(a_words, tile), i * _OUTPUTS_PER_TILE, axis=1)

    return lax.fori_loop(0, -(-outputs // _OUTPUTS_PER_TILE), step, jnp.zeros((rows, outputs), jnp.int32))


def _differing_tile(a_words: Array, w_transposed: Array) -> Array:
    words = a_words.shape[1]
    blocks = words // WORDS_PER_ADDER

    def block(start, length):
        a = lax.dynamic_slice_in_dim(a_words, start, length, axis=1)
        w = lax.dynamic_slice_in_dim(w_transposed, start, length, axis=0)
        return count_ones([a[:, i, None] ^ w[i][None] for i in range(length)])

    total = jnp.zeros((a_words.shape[0], w_transposed.shape[1]), jnp.int32)
    if blocks <= 2:  # unrolled: one fused loop, no intermediate in memory
        for i in range(blocks):
            total = total + block(i * WORDS_PER_ADDER, WORDS_PER_ADDER)
    else:
        total = lax.fori_loop(0, blocks, lambda i, sum_: sum_ + block(i * WORDS_PER_ADDER, WORDS_PER_ADDER), total)
    return total + block(blocks * WORDS_PER_ADDER, words % WORDS_PER_ADDER) if words % WORDS_PER_ADDER else total


def count_ones(words: list[Array]) -> Array:
    """Counts the set bits of all words, elementwise: full adders over bit planes, then one count a plane."""
    planes: list[list[Array]] = []
    for word in words:
        carry, weight = word, 0
        while carry is not None:
            if weight == len(planes):
                planes.append([])
            planes[weight].append(carry)
            carry = None
            if len(planes[weight]) == 3:
                a, b, c = planes[weight]
                half = a ^ b
                planes[weight], carry = [half ^ c], a ^ (half & (a ^ c))  # sum and majority of three bits
            weight += 1
    counts = [
        lax.population_count(plane) << jnp.uint32(weight) for weight, group in enumerate(planes) for plane in group
    ]
    return jnp.asarray(sum(counts[1:], counts[0])).astype(jnp.int32)
