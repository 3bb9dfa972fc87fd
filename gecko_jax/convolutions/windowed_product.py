"""A convolution as a matrix product over the windows of a few images at a time: fast on CPU, also inside a loop.

XLA's CPU backend runs `lax.conv` inside a loop several times slower than outside (jax-ml/jax#12868); the same sum as
one matrix product over patches has no such trap.

All windows of a batch together fall out of the cache (42 MB for 64 images of Gecko's second convolution); those of one
group stay in it, and are made again for the gradient. That is twice as fast. Two kinds have shorter ways forward: one
channel is a sum of shifted images, and where every row is used (stride 1) windows over a row's columns are enough.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

from gecko_jax.convolutions.patches import bordered, explicit_padding, patches, taps
from gecko_jax.types import Array

CACHED_FLOATS = 400_000  # of windows worked on at a time: about a core's second-level cache
SCOPE = "windowed_product"  # the name of this product among the steps of a traced function

Pair = tuple[int, int]


def as_matmul(
    lhs, rhs, window_strides, padding, lhs_dilation=None, rhs_dilation=None, dimension_numbers=None, **options
) -> Array:
    """`lax.conv_general_dilated` of NHWC inputs by matrix products; what is grouped, dilated inside or not 2-d: XLA.

    Args:
      lhs, rhs, ...: as `lax.conv_general_dilated` takes them; `options` may hold its feature_group_count and precision.
    """
    if not _is_plain(lhs, rhs, lhs_dilation, dimension_numbers, options):
        return lax.conv_general_dilated(
            lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers, **options
        )
    dilation = tuple(rhs_dilation or (1, 1))
    lhs = bordered(lhs, explicit_padding(padding, lhs.shape[1:3], rhs.shape[:2], window_strides, dilation), 0)
    strides = tuple(window_strides)
    if strides != (1, 1) and dilation == (1, 1) and all(k % s == 0 for k, s in zip(rhs.shape, strides, strict=False)):
        lhs, rhs = _folded(lhs, strides, rhs.shape[:2]), _folded_kernel(rhs, strides)
        strides = (1, 1)
    return windowed_product(strides, dilation, options.get("precision"), lhs, rhs)


def _folded(x: Array, strides: Pair, size: Pair) -> Array:
    """x with the places that a window steps over as channels, so that it steps by one: [b, h/sh, w/sw, sh*sw*c].

    A quarter of the copies for strides of 2, and their gradient adds whole images up, not every second number.
    """
    (sh, sw), (kh, kw), (b, h, w, c) = strides, size, x.shape
    height, width = ((n - k) // s + k // s for n, k, s in zip((h, w), (kh, kw), (sh, sw), strict=True))
    x = x[:, : height * sh, : width * sw].reshape(b, height, sh, width, sw, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, height, width, sh * sw * c)


def _folded_kernel(kernel: Array, strides: Pair) -> Array:
    (sh, sw), (kh, kw, c, o) = strides, kernel.shape
    kernel = kernel.reshape(kh // sh, sh, kw // sw, sw, c, o)
    return kernel.transpose(0, 2, 1, 3, 4, 5).reshape(kh // sh, kw // sw, sh * sw * c, o)


def _is_plain(lhs, rhs, lhs_dilation, dimension_numbers, options) -> bool:
    if lhs.ndim != 4 or lhs.size == 0 or any(d != 1 for d in lhs_dilation or ()):
        return False
    if options.get("feature_group_count", 1) != 1 or set(options) - {"feature_group_count", "precision"}:
        return False
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    return numbers == lax.conv_dimension_numbers(lhs.shape, rhs.shape, ("NHWC", "HWIO", "NHWC"))


def windowed_product(strides: Pair, dilation: Pair, precision, x: Array, kernel: Array) -> Array:
    """patches(x) @ kernel: x [b, h, w, c], kernel [kh, kw, c, o] -> [b, h', w', o]; reverse-mode gradients only."""
    with jax.named_scope(SCOPE):
        return _in_groups(strides, dilation, precision, x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _in_groups(strides: Pair, dilation: Pair, precision, x: Array, kernel: Array) -> Array:
    out = lax.map(lambda images: _product(strides, dilation, precision, images, kernel), _groups(x, kernel))
    return out.reshape(len(x), *out.shape[2:])


def _product(strides, dilation, precision, images, kernel):
    kh, _, channels, _ = kernel.shape
    reach = (kh - 1) * dilation[0]
    if channels == 1:
        places = taps(images, kernel.shape[:2], strides, dilation)
        factors = kernel.reshape(len(places), 1, 1, 1, -1)
        return functools.reduce(jnp.add, [image * tap for image, tap in zip(places, factors, strict=True)])
    if strides[0] == 1 and 4 * reach <= images.shape[1] - reach:
        return _by_rows(strides[1], dilation, precision, images, kernel)
    return _windowed(strides, dilation, precision, images, kernel)


def _windowed(strides, dilation, precision, images, kernel):
    """The product over whole windows, whose gradient with respect to the images is the fastest of the three."""
    return _times(patches(images, kernel.shape[:2], strides, dilation), kernel, precision)


def _by_rows(stride: int, dilation: Pair, precision, images, kernel):
    """The product for each row of the kernel with all rows of the images, added up one below the other.

    A third of the copies of `patches` for some more arithmetic: (kh - 1) * dilation rows of products are not used.
    """
    kh, kw = kernel.shape[:2]
    columns = patches(images, (1, kw), (1, stride), (1, dilation[1]))
    height = images.shape[1] - (kh - 1) * dilation[0]
    products = [_times(columns, kernel[i], precision) for i in range(kh)]
    return sum(product[:, i * dilation[0] :][:, :height] for i, product in enumerate(products))


def _times(windows, kernel, precision):
    """windows [b, h, w, k] @ kernel [..., o], whose leading axes together have length k."""
    flat = kernel.reshape(-1, kernel.shape[-1])
    product = jnp.matmul(windows.reshape(-1, len(flat)), flat, precision=precision)
    return product.reshape(*windows.shape[:-1], -1)


def _forward(strides, dilation, precision, x, kernel):
    return _in_groups(strides, dilation, precision, x, kernel), (x, kernel)


def _backward(strides, dilation, precision, saved, cotangent):
    x, kernel = saved
    groups = _groups(x, kernel)

    def body(total, group):
        images, back = group
        _, to_images = jax.vjp(lambda a: _windowed(strides, dilation, precision, a, kernel), images)
        places = taps(images, kernel.shape[:2], strides, dilation)
        rows = back.reshape(-1, back.shape[-1])
        if images.shape[-1] == 1:
            part = jnp.matmul(jnp.stack([place.reshape(-1) for place in places]), rows, precision=precision).T
        else:  # the kernel's gradient transposed: the small factor is turned around, not the windows
            windows = jnp.concatenate(places, axis=-1)
            part = jnp.matmul(rows.T, windows.reshape(-1, windows.shape[-1]), precision=precision)
        return total + part, to_images(back)[0]

    start = jnp.zeros((kernel.shape[-1], kernel[..., 0].size), kernel.dtype)
    total, to_x = lax.scan(body, start, (groups, cotangent.reshape(*groups.shape[:2], *cotangent.shape[1:])))
    return to_x.reshape(x.shape), total.T.reshape(kernel.shape)


_in_groups.defvjp(_forward, _backward)


def _groups(x: Array, kernel: Array) -> Array:
    """x [b, ...] as [groups, images, ...]."""
    floats = x.shape[1] * x.shape[2] * kernel[..., 0].size
    group = _divisor(len(x), at_most=max(1, CACHED_FLOATS // floats))
    return x.reshape(-1, group, *x.shape[1:])


def _divisor(n: int, at_most: int) -> int:
    return max(d for d in range(1, min(n, at_most) + 1) if n % d == 0)
