"""Products of +-1 vectors on packed words: one XNOR and a population count do 32 multiply-accumulates.

dot(x, w) = 2 popcount(xnor(x, w)) - n = n - 2 popcount(xor(x, w))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax import lax

from gecko_jax.checks import shape as check_shape
from gecko_jax.convolutions import add_border, explicit_padding, patches, taps
from gecko_jax.integer.signs import WORD_BITS, WORDS_PER_ADDER, count_ones, differing_bits, element_mask
from gecko_jax.types import Array


def xnor_matmul(a_words: Array, w_words: Array, n: int) -> Array:
    """Computes dot products of +-1 vectors; the weights have one output a row.

    Args:
      a_words: uint32 [b, ceil(n / 32)].
      w_words: uint32 [out, ceil(n / 32)].
      n: length of the vectors.

    Returns:
      int32 [b, out].

    Raises:
      ValueError: shapes that do not agree with each other or with n.

    Source: Rastegari et al. 2016 (XNOR-Net), section 3.2.

    >>> import jax.numpy as jnp
    >>> from gecko_jax.integer.signs import pack_signs
    >>> x, w = jnp.array([[1.0, -1.0, 1.0]]), jnp.array([[1.0, 1.0, 1.0], [-1.0, 1.0, -1.0]])
    >>> xnor_matmul(pack_signs(x), pack_signs(w), 3).tolist()
    [[1, -3]]
    """
    check_shape("w_words", w_words, (None, -(-n // WORD_BITS)))
    # The barrier makes XLA store the transposed words. Fused into the product, each read would step over a row.
    return xnor_matmul_transposed(a_words, lax.optimization_barrier(w_words.T), n)


def xnor_matmul_transposed(a_words: Array, w_transposed: Array, n: int) -> Array:
    """Computes `xnor_matmul` from weights as `pack_kernel` returns them, which is faster.

    Args:
      a_words: uint32 [b, ceil(n / 32)].
      w_transposed: uint32 [ceil(n / 32), out].
      n: length of the vectors.

    Returns:
      int32 [b, out].

    Raises:
      ValueError: shapes that do not agree with each other or with n.

    >>> import jax.numpy as jnp
    >>> from gecko_jax.integer.signs import pack_kernel, pack_signs
    >>> x, kernel = jnp.array([[1.0, -1.0, 1.0]]), jnp.array([[1.0], [1.0], [-1.0]])
    >>> xnor_matmul_transposed(pack_signs(x), pack_kernel(kernel), 3).tolist()
    [[-1]]
    """
    words = -(-n // WORD_BITS)
    check_shape("a_words", a_words, (None, words))
    check_shape("w_transposed", w_transposed, (words, None))
    if n % WORD_BITS:
        a_words, w_transposed = a_words & element_mask(n, 2, 1), w_transposed & element_mask(n, 2, 0)
    return n - 2 * differing_bits(a_words, w_transposed)


def xnor_conv(
    x_words: Array,
    kernel_words: Array,
    channels: int,
    strides: Sequence[int] = (1, 1),
    padding: str | Sequence[tuple[int, int]] = "SAME",
    dilation: Sequence[int] = (1, 1),
) -> Array:
    """Computes the two-dimensional convolution of +-1 images with +-1 filters.

    The border is filled with +1, because +-1 has no zero.

    Args:
      x_words: uint32 [b, h, w, ceil(channels / 32)], from `pack_signs`.
      kernel_words: uint32 [kh, kw, ceil(channels / 32), out], from `pack_kernel`.
      channels: number of input channels.
      strides, dilation: (vertical, horizontal).
      padding: "SAME", "VALID" or ((top, bottom), (left, right)).

    Returns:
      int32 [b, h', w', out].

    Raises:
      ValueError: shapes that do not agree, or an image smaller than the dilated kernel.

    >>> import jax.numpy as jnp
    >>> from gecko_jax.integer.signs import pack_kernel, pack_signs
    >>> image, kernel = jnp.ones((1, 3, 3, 2)), -jnp.ones((2, 2, 2, 1))
    >>> xnor_conv(pack_signs(image), pack_kernel(kernel), 2, padding="VALID").reshape(-1).tolist()
    [-8, -8, -8, -8]
    """
    words = -(-channels // WORD_BITS)
    check_shape("x_words", x_words, (None, None, None, words))
    check_shape("kernel_words", kernel_words, (None, None, words, None))
    size = kernel_words.shape[:2]
    pads = explicit_padding(padding, x_words.shape[1:3], size, tuple(strides), tuple(dilation))
    x_words = add_border(x_words, pads, np.uint32(0xFFFFFFFF))
    spans = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
    if any(length < span for length, span in zip(x_words.shape[1:3], spans, strict=True)):
        raise ValueError(f"x_words has padded shape {x_words.shape}, smaller than the dilated kernel {tuple(spans)}.")
    if channels % WORD_BITS:
        x_words, kernel_words = x_words & element_mask(channels, 4, 3), kernel_words & element_mask(channels, 4, 2)
    x_words = lax.optimization_barrier(x_words)  # padded once, not again for each place
    out, places = kernel_words.shape[-1], math.prod(size)
    if places * words <= 2 * WORDS_PER_ADDER:  # one fused loop that reads the image in place
        kernel, images = kernel_words.reshape(-1, words, out), taps(x_words, size, strides, dilation)
        pairs = [images[t][..., c, None] ^ kernel[t, c][None, None, None] for t in range(places) for c in range(words)]
        differing: Any = sum(count_ones(pairs[i : i + WORDS_PER_ADDER]) for i in range(0, len(pairs), WORDS_PER_ADDER))
    else:
        windows = patches(x_words, size, strides, dilation)
        differing = differing_bits(windows.reshape(-1, windows.shape[-1]), kernel_words.reshape(-1, out))
        differing = differing.reshape(*windows.shape[:3], out)
    return places * channels - 2 * differing
