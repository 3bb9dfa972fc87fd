"""A convolution as a matrix product over the patches of a few images at a time: fast on a CPU, also inside a loop.

XLA's CPU backend runs `lax.conv` inside a loop several times slower than outside (jax-ml/jax#12868). The same sum as a
matrix product over patches is as fast inside as outside.

The patches of a batch together do not fit into the cache (42 MB for 64 images of Gecko's second convolution). Those of
a group of images do, and they are collected again for the gradient, which is twice as fast. Two cases have a shorter
forward pass. An image of one channel is multiplied place by place and added up. If every row is used (stride 1),
patches over the columns of a row are enough.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

from gecko_jax.convolutions.patches import add_border, explicit_padding, patches, taps
from gecko_jax.types import Array

MAX_FLOATS_PER_GROUP = 400_000  # of the patches of a group of images: about a core's second-level cache
SCOPE = "windowed_product"  # the name scope of this product in a traced function

Pair = tuple[int, int]


def as_matmul(
    lhs, rhs, window_strides, padding, lhs_dilation=None, rhs_dilation=None, dimension_numbers=None, **options
) -> Array:
    """Computes `lax.conv_general_dilated` by matrix products.

    Convolutions that are grouped, dilated inside the image, not of two spatial axes or not NHWC are left to XLA.

    Args:
      lhs: images [b, h, w, c].
      rhs: kernel [kh, kw, c, o].
      window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers: as of `lax.conv_general_dilated`, whose
        default numbers are NCHW.
      **options: its feature_group_count and precision.

    Returns:
      [b, h', w', o], the same numbers as XLA's up to rounding; gradients in reverse mode only.

    >>> numbers = ("NHWC", "HWIO", "NHWC")
    >>> y = as_matmul(jnp.ones((1, 3, 3, 2)), jnp.ones((2, 2, 2, 1)), (1, 1), "VALID", dimension_numbers=numbers)
    >>> y.reshape(-1).tolist()
    [8.0, 8.0, 8.0, 8.0]
    """
    if not _is_plain(lhs, rhs, lhs_dilation, dimension_numbers, options):
        return lax.conv_general_dilated(
            lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers, **options
        )
    down, across = rhs_dilation or (1, 1)
    dilation = (down, across)
    lhs = add_border(lhs, explicit_padding(padding, lhs.shape[1:3], rhs.shape[:2], window_strides, dilation), 0)
    strides = tuple(window_strides)
    if strides != (1, 1) and dilation == (1, 1) and all(k % s == 0 for k, s in zip(rhs.shape, strides, strict=False)):
        lhs, rhs = _folded(lhs, strides, rhs.shape[:2]), _folded_kernel(rhs, strides)
        strides = (1, 1)
    return windowed_product(strides, dilation, options.get("precision"), lhs, rhs)


def _folded(x: Array, strides: Pair, size: Pair) -> Array:
    """Folds the pixels that a stride steps over into channels, after which the stride is 1: [b, h/sh, w/sw, sh*sw*c].

    For strides of 2 this takes a quarter of the copies, and the gradient adds up images instead of every second number.
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
    """Computes patches(x) @ kernel a few images at a time; gradients in reverse mode only.

    Args:
      strides, dilation: of the kernel, (vertical, horizontal).
      precision: of `jnp.matmul`.
      x: images [b, h, w, c], with their border.
      kernel: [kh, kw, c, o].

    Returns:
      [b, h', w', o].
    """
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
    """Multiplies patches of the full kernel; its gradient with respect to the images is the fastest of the three."""
    return _times(patches(images, kernel.shape[:2], strides, dilation), kernel, precision)


def _by_rows(stride: int, dilation: Pair, precision, images, kernel):
    """Multiplies each row of the kernel with all rows of the images, and adds the products up with an offset.

    It takes a third of the copies of `patches` and some more arithmetic: (kh - 1) * dilation rows are not used.
    """
    kh, kw = kernel.shape[:2]
    columns = patches(images, (1, kw), (1, stride), (1, dilation[1]))
    height = images.shape[1] - (kh - 1) * dilation[0]
    products = [_times(columns, kernel[i], precision) for i in range(kh)]
    return sum(product[:, i * dilation[0] :][:, :height] for i, product in enumerate(products))


def _times(windows, kernel, precision):
    """Computes windows [b, h, w, k] @ kernel [..., o], whose leading axes together have length k."""
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
        else:  # the kernel's gradient transposed, because transposing the small factor is cheaper
            windows = jnp.concatenate(places, axis=-1)
            part = jnp.matmul(rows.T, windows.reshape(-1, windows.shape[-1]), precision=precision)
        return total + part, to_images(back)[0]

    start = jnp.zeros((kernel.shape[-1], kernel[..., 0].size), kernel.dtype)
    total, to_x = lax.scan(body, start, (groups, cotangent.reshape(*groups.shape[:2], *cotangent.shape[1:])))
    return to_x.reshape(x.shape), total.T.reshape(kernel.shape)


_in_groups.defvjp(_forward, _backward)


def _groups(x: Array, kernel: Array) -> Array:
    """Reshapes x [b, ...] to [groups, images, ...]."""
    floats = x.shape[1] * x.shape[2] * kernel[..., 0].size
    group = _divisor(len(x), at_most=max(1, MAX_FLOATS_PER_GROUP // floats))
    return x.reshape(-1, group, *x.shape[1:])


def _divisor(n: int, at_most: int) -> int:
    return max(d for d in range(1, min(n, at_most) + 1) if n % d == 0)
