"""A convolution as a matrix product over the windows of a few images at a time: fast on CPU, also inside a loop.

All windows of a batch together fall out of the cache (42 MB for 64 images of Gecko's second convolution); those of one
group stay in it, and are made again for the gradient. That is twice as fast.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

from gecko_jax.types import Array

CACHED_FLOATS = 400_000  # of windows worked on at a time: about a core's second-level cache

Pair = tuple[int, int]


def patches(x: Array, size: Pair, strides: Pair, dilation: Pair) -> Array:
    """The windows of x [b, h, w, c] that lie wholly inside it, as [b, h', w', kh * kw * c]."""
    (kh, kw), (sh, sw), (dh, dw) = size, strides, dilation
    height, width = x.shape[1] - (kh - 1) * dh, x.shape[2] - (kw - 1) * dw
    corners = [(i * dh, j * dw) for i in range(kh) for j in range(kw)]
    return jnp.concatenate([x[:, i : i + height : sh, j : j + width : sw] for i, j in corners], axis=-1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def windowed_product(strides: Pair, dilation: Pair, precision, x: Array, kernel: Array) -> Array:
    """patches(x) @ kernel: x [b, h, w, c], kernel [kh, kw, c, o] -> [b, h', w', o]; reverse-mode gradients only."""
    out = lax.map(lambda images: _product(strides, dilation, precision, images, kernel), _groups(x, kernel))
    return out.reshape(len(x), *out.shape[2:])


def _product(strides, dilation, precision, images, kernel):
    windows = patches(images, kernel.shape[:2], strides, dilation)
    flat = kernel.reshape(-1, kernel.shape[-1])
    product = jnp.matmul(windows.reshape(-1, len(flat)), flat, precision=precision)
    return product.reshape(*windows.shape[:-1], -1)


def _forward(strides, dilation, precision, x, kernel):
    return windowed_product(strides, dilation, precision, x, kernel), (x, kernel)


def _backward(strides, dilation, precision, saved, cotangent):
    x, kernel = saved
    groups = _groups(x, kernel)

    def body(total, group):
        images, back = group
        _, to_images = jax.vjp(lambda a: _product(strides, dilation, precision, a, kernel), images)
        # The kernel's gradient transposed: the small factor is turned around, not the windows.
        windows = patches(images, kernel.shape[:2], strides, dilation)
        turned = back.reshape(-1, back.shape[-1]).T
        part = jnp.matmul(turned, windows.reshape(-1, windows.shape[-1]), precision=precision)
        return total + part, to_images(back)[0]

    start = jnp.zeros((kernel.shape[-1], kernel[..., 0].size), kernel.dtype)
    total, to_x = lax.scan(body, start, (groups, cotangent.reshape(*groups.shape[:2], *cotangent.shape[1:])))
    return to_x.reshape(x.shape), total.T.reshape(kernel.shape)


windowed_product.defvjp(_forward, _backward)


def _groups(x: Array, kernel: Array) -> Array:
    """x [b, ...] as [groups, images, ...]."""
    floats = x.shape[1] * x.shape[2] * kernel[..., 0].size
    group = _divisor(len(x), at_most=max(1, CACHED_FLOATS // floats))
    return x.reshape(-1, group, *x.shape[1:])


def _divisor(n: int, at_most: int) -> int:
    return max(d for d in range(1, min(n, at_most) + 1) if n % d == 0)
