"""Quantized layers with binary weights and inputs, by the packed product."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp

from gecko_jax.integer.signs import pack_kernel, pack_signs
from gecko_jax.integer.xnor import xnor_conv, xnor_matmul_transposed
from gecko_jax.types import Array


def binary_dense(x: Array, kernel_codes: Array, scale: Array, bias: Array | None = None) -> Array:
    """Computes a quantized `nn.Dense` by the packed product: sign(x) @ (kernel_codes * scale) + bias.

    Args:
      x: floats [b, n].
      kernel_codes: +-1 [n, out], `Codes.values` of a one-bit quantizer.
      scale: `Codes.scale`, one number or one for each output ([out] or [1, out]).
      bias: [out] or None.

    Returns:
      float32 [b, out].

    Raises:
      ValueError: a scale that varies along the inputs, which an integer product cannot represent.

    >>> binary_dense(jnp.array([[0.5, -2.0]]), jnp.array([[1.0], [-1.0]]), jnp.array([0.25])).tolist()
    [[0.5]]
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
    """Computes a quantized `nn.Conv` by the packed product; the border of sign(x) is filled with +1.

    Args:
      x: floats [b, h, w, c].
      kernel_codes: +-1 [kh, kw, c, out].
      scale, bias: see `binary_dense`.
      strides, padding, dilation: see `xnor_conv`.

    Returns:
      float32 [b, h', w', out].

    Raises:
      ValueError: see `binary_dense` and `xnor_conv`.

    >>> binary_conv(jnp.ones((1, 2, 2, 1)), -jnp.ones((2, 2, 1, 1)), jnp.array(0.5), padding="VALID").tolist()
    [[[[-2.0]]]]
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
