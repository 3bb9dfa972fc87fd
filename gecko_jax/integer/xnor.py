"""Products of +-1 vectors on packed words: 32 multiply-accumulates are one XNOR and a share of a population count.

    dot(x, w) = 2 popcount(xnor(x, w)) - n = n - 2 popcount(xor(x, w))

Bit i of word j stands for element 32 j + i: 1 for +1, 0 for -1. The bits of the last word past n count nothing,
whatever they hold.

Population counts are dear where a CPU has no vector instruction for them. So up to 32 words are first added bit by bit
with full adders (Harley & Seal; Mula, Kurz & Lemire 2018): six counts stand for 32. All of it is plain integer XLA.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax

from gecko_jax.checks import shape as check_shape
from gecko_jax.convolutions import bordered, explicit_padding, patches, taps
from gecko_jax.types import Array

WORD = 32
_BLOCK = 32  # words whose bits one tree of full adders adds
_TILE = 128  # outputs at a time: 32 words of 128 outputs are 16 KiB, which stay in a first-level cache


def pack_signs(x: Array) -> Array:
    """Signs of the last axis, 32 in a word; sign(0) = +1, and NaN counts as -1.

    Args:
      x: floats (or +-1 integers) [..., n].

    Returns:
      uint32 [..., ceil(n / 32)]; the bits past n are 0.

    >>> import jax.numpy as jnp
    >>> pack_signs(jnp.array([1.0, -1.0, 0.0, -2.0])).tolist()
    [5]
    """
    bits = x >= 0
    bits = jnp.pad(bits, [(0, 0)] * (bits.ndim - 1) + [(0, -bits.shape[-1] % WORD)])
    # Eight bits to a byte and a free bitcast: XLA's CPU backend makes vector code of this, and not of 32-bit shifts.
    bits = bits.reshape(*bits.shape[:-1], -1, 4, 8)
    places = lax.broadcasted_iota(jnp.uint8, bits.shape, bits.ndim - 1)
    one_hot = bits.astype(jnp.uint8) << places
    octets = lax.reduce(one_hot, np.uint8(0), lax.bitwise_or, (one_hot.ndim - 1,))
    return lax.bitcast_convert_type(octets, jnp.uint32)


def pack_kernel(kernel: Array) -> Array:
    """Signs of a Flax kernel [..., in, out] -> uint32 [..., ceil(in / 32), out], the layout that products read best."""
    return jnp.moveaxis(pack_signs(jnp.moveaxis(kernel, -2, -1)), -1, -2)


def xnor_matmul(a_words: Array, w_words: Array, n: int) -> Array:
    """Dot products of +-1 vectors, weights stored one output a row.

    Args:
      a_words: uint32 [b, ceil(n / 32)].
      w_words: uint32 [out, ceil(n / 32)].
      n: length of the vectors.

    Returns:
      int32 [b, out].

    Raises:
      ValueError: shapes that do not agree with each other or with n.
    """
    check_shape("w_words", w_words, (None, -(-n // WORD)))
    # The barrier makes XLA store the transposed words; fused into the product, each read would stride over a row.
    return xnor_matmul_transposed(a_words, lax.optimization_barrier(w_words.T), n)


def xnor_matmul_transposed(a_words: Array, w_transposed: Array, n: int) -> Array:
    """`xnor_matmul` with weights as `pack_kernel` stores them, uint32 [ceil(n / 32), out]: the fast one."""
    words = -(-n // WORD)
    check_shape("a_words", a_words, (None, words))
    check_shape("w_transposed", w_transposed, (words, None))
    if n % WORD:
        a_words, w_transposed = a_words & _tail(n, 2, 1), w_transposed & _tail(n, 2, 0)
    return n - 2 * _differing(a_words, w_transposed)


def xnor_conv(
    x_words: Array,
    kernel_words: Array,
    channels: int,
    strides: Sequence[int] = (1, 1),
    padding: str | Sequence[tuple[int, int]] = "SAME",
    dilation: Sequence[int] = (1, 1),
) -> Array:
    """Two-dimensional convolution of +-1 images and +-1 filters.

    A network of +-1 has no zero: the border is filled with +1.

    Args:
      x_words: uint32 [b, h, w, ceil(channels / 32)], from `pack_signs`.
      kernel_words: uint32 [kh, kw, ceil(channels / 32), out], from `pack_kernel`.
      channels: input channels.
      strides, dilation: (vertical, horizontal).
      padding: "SAME", "VALID" or ((top, bottom), (left, right)).

    Returns:
      int32 [b, h', w', out].

    Raises:
      ValueError: shapes that do not agree, or an image smaller than the dilated kernel.
    """
    words = -(-channels // WORD)
    check_shape("x_words", x_words, (None, None, None, words))
    check_shape("kernel_words", kernel_words, (None, None, words, None))
    size = kernel_words.shape[:2]
    pads = explicit_padding(padding, x_words.shape[1:3], size, tuple(strides), tuple(dilation))
    x_words = bordered(x_words, pads, np.uint32(0xFFFFFFFF))
    spans = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
    if any(length < span for length, span in zip(x_words.shape[1:3], spans, strict=True)):
        raise ValueError(f"x_words has padded shape {x_words.shape}, smaller than the dilated kernel {tuple(spans)}.")
    if channels % WORD:
        x_words, kernel_words = x_words & _tail(channels, 4, 3), kernel_words & _tail(channels, 4, 2)
    x_words = lax.optimization_barrier(x_words)  # padded once, not again for each place
    out, places = kernel_words.shape[-1], math.prod(size)
    if places * words <= 2 * _BLOCK:  # one fused loop that reads the image in place
        kernel, images = kernel_words.reshape(-1, words, out), taps(x_words, size, strides, dilation)
        pairs = [images[t][..., c, None] ^ kernel[t, c][None, None, None] for t in range(places) for c in range(words)]
        differing = sum(_count_ones(pairs[i : i + _BLOCK]) for i in range(0, len(pairs), _BLOCK))
    else:
        windows = patches(x_words, size, strides, dilation)
        differing = _differing(windows.reshape(-1, windows.shape[-1]), kernel_words.reshape(-1, out))
        differing = differing.reshape(*windows.shape[:3], out)
    return places * channels - 2 * differing


def binary_dense(x: Array, kernel_codes: Array, scale: Array, bias: Array | None = None) -> Array:
    """sign(x) @ (kernel_codes * scale) + bias, by the packed product: a quantised `nn.Dense` on the device's terms.

    Args:
      x: floats [b, n].
      kernel_codes: +-1 [n, out], `Codes.values` of a one-bit quantiser.
      scale: `Codes.scale`: one number, or one an output ([out] or [1, out]).
      bias: [out] or None.

    Returns:
      float32 [b, out].

    Raises:
      ValueError: a scale that varies along the inputs, which no integer product can carry.
    """
    scale = _per_output("scale", scale, kernel_codes, 2)
    accumulators = xnor_matmul_transposed(pack_signs(x), pack_kernel(kernel_codes), kernel_codes.shape[0])
    y = accumulators.astype(jnp.float32) * scale
    return y if bias is None else y + _per_output("bias", bias, kernel_codes, 2)


def binary_conv(
    x: Array,
    kernel_codes: Array,
    scale: Array,
    bias: Array | None = None,
    strides: Sequence[int] = (1, 1),
    padding: str | Sequence[tuple[int, int]] = "SAME",
    dilation: Sequence[int] = (1, 1),
) -> Array:
    """The convolution of sign(x) [b, h, w, c], padded with +1, by kernel_codes * scale [kh, kw, c, out], plus bias.

    Arguments as in `binary_dense` and `xnor_conv`; float32 [b, h', w', out].
    """
    scale = _per_output("scale", scale, kernel_codes, 4)
    words, kernel = pack_signs(x), pack_kernel(kernel_codes)
    accumulators = xnor_conv(words, kernel, kernel_codes.shape[2], strides, padding, dilation)
    y = accumulators.astype(jnp.float32) * scale
    return y if bias is None else y + _per_output("bias", bias, kernel_codes, 4)


def _per_output(name: str, value: Array, kernel: Array, rank: int) -> Array:
    value, outputs = jnp.asarray(value, jnp.float32), kernel.shape[-1]
    if any(length != 1 for length in value.shape[:-1]) or value.size not in (1, outputs):
        raise ValueError(f"{name} has shape {value.shape}; expected one number or one for each of {outputs} outputs.")
    return value.reshape((1,) * (rank - 1) + (-1,))


def _tail(n: int, rank: int, axis: int) -> Array:
    """uint32, ceil(n / 32) words along `axis` of `rank`: ones at the bits that stand for elements."""
    mask = np.full(-(-n // WORD), 0xFFFFFFFF, np.uint32)
    mask[-1] = (1 << (n % WORD or WORD)) - 1
    return jnp.asarray(mask.reshape([-1 if i == axis else 1 for i in range(rank)]))


def _differing(a_words: Array, w_transposed: Array) -> Array:
    """int32 [b, out]: bits in which a_words [b, w] and w_transposed [w, out] differ."""
    rows, outputs = a_words.shape[0], w_transposed.shape[1]
    if rows < 8 or outputs <= _TILE:
        return _differing_tile(a_words, w_transposed)

    def step(i, result):
        # The last tile may overlap the one before it: dynamic slices are clamped alike when read and written.
        tile = lax.dynamic_slice_in_dim(w_transposed, i * _TILE, _TILE, axis=1)
        return lax.dynamic_update_slice_in_dim(result, _differing_tile(a_words, tile), i * _TILE, axis=1)

    return lax.fori_loop(0, -(-outputs // _TILE), step, jnp.zeros((rows, outputs), jnp.int32))


def _differing_tile(a_words: Array, w_transposed: Array) -> Array:
    words = a_words.shape[1]
    whole = words // _BLOCK

    def block(start, length):
        a = lax.dynamic_slice_in_dim(a_words, start, length, axis=1)
        w = lax.dynamic_slice_in_dim(w_transposed, start, length, axis=0)
        return _count_ones([a[:, i, None] ^ w[i][None] for i in range(length)])

    total = jnp.zeros((a_words.shape[0], w_transposed.shape[1]), jnp.int32)
    if whole <= 2:  # unrolled: one fused loop, no intermediate in memory
        for i in range(whole):
            total = total + block(i * _BLOCK, _BLOCK)
    else:
        total = lax.fori_loop(0, whole, lambda i, sum_: sum_ + block(i * _BLOCK, _BLOCK), total)
    return total + block(whole * _BLOCK, words % _BLOCK) if words % _BLOCK else total


def _count_ones(words: list[Array]) -> Array:
    """Set bits of all words, elementwise: a ripple of full adders over bit planes, then one count a plane."""
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
    return sum(counts[1:], counts[0]).astype(jnp.int32)
