"""The patches of an image that a convolution's kernel sees, and the border around the image.

Images are [leading..., spatial..., channels]. A kernel of `size` (one number a spatial axis, like strides and dilation)
has prod(size) places in row-major order. It moves inside the image only; `add_border` adds a border first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax

from gecko_jax.types import Array

MAX_SLICED_PLACES = 128  # a larger kernel's patches are collected by one gather instead of a slice for each place


def explicit_padding(
    padding: str | int | Sequence[int | tuple[int, int]],
    spatial: Sequence[int],
    size: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
) -> list[tuple[int, int]]:
    """Returns the padding of a convolution as [(low, high)], one pair a spatial axis.

    Args:
      padding: "SAME", "VALID", one number for all sides, or a number or a pair for each axis.
      spatial: lengths of the image's spatial axes.
      size, strides, dilation: of the kernel.

    Returns:
      One pair for each spatial axis.

    >>> explicit_padding("SAME", (5, 5), (3, 2), (1, 1), (1, 1)), explicit_padding(1, (5, 5), (3, 2), (1, 1), (1, 1))
    ([(1, 1), (0, 1)], [(1, 1), (1, 1)])
    """
    if isinstance(padding, str):
        reach = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
        return list(lax.padtype_to_pads(spatial, reach, strides, padding))
    sides = [padding] * len(size) if isinstance(padding, int) else padding
    return [(side, side) if isinstance(side, int) else (side[0], side[1]) for side in sides]


def add_border(x: Array, pads: Sequence[tuple[int, int]], value: float | np.generic) -> Array:
    """Adds a border to images.

    Args:
      x: images [b, spatial..., c].
      pads: (low, high) of each spatial axis, from `explicit_padding`.
      value: of the border's pixels.

    Returns:
      [b, low + spatial + high..., c].

    >>> add_border(jnp.zeros((1, 2, 1, 1)), [(1, 0), (0, 0)], 1).reshape(-1).tolist()
    [1.0, 0.0, 0.0]
    """
    if not any(low or high for low, high in pads):
        return x
    return lax.pad(x, jnp.asarray(value, x.dtype), ((0, 0, 0), *((low, high, 0) for low, high in pads), (0, 0, 0)))


def output_size(spatial: Sequence[int], size: Sequence[int], strides: Sequence[int], dilation: Sequence[int]):
    """Counts the positions of a kernel along each spatial axis, without a border.

    Args:
      spatial: lengths of the image's spatial axes, its border included.
      size, strides, dilation: of the kernel.

    Returns:
      One number for each spatial axis.

    >>> output_size((6, 5), (3, 2), (2, 1), (1, 2))
    (2, 3)
    """
    return tuple((n - (k - 1) * d - 1) // s + 1 for n, k, s, d in zip(spatial, size, strides, dilation, strict=True))


def taps(x: Array, size: Sequence[int], strides: Sequence[int], dilation: Sequence[int]) -> list[Array]:
    """Slices x once for each place of a kernel: what that place sees at all positions of the kernel.

    Args:
      x: images [leading..., spatial..., channels].
      size, strides, dilation: of the kernel.

    Returns:
      prod(size) arrays [leading..., positions..., channels].

    >>> image = jnp.arange(9).reshape(1, 3, 3, 1)
    >>> [tap.reshape(-1).tolist() for tap in taps(image, (1, 2), (2, 1), (1, 1))]
    [[0, 1, 6, 7], [1, 2, 7, 8]]
    """
    leading, channels = x.shape[: -len(size) - 1], x.shape[-1]
    positions = output_size(x.shape[-len(size) - 1 : -1], size, strides, dilation)
    steps = ((1,) * len(leading)) + (*strides, 1)
    slices = []
    for place in np.ndindex(*size):
        start = [at * d for at, d in zip(place, dilation, strict=True)]
        stop = [low + (n - 1) * s + 1 for low, n, s in zip(start, positions, strides, strict=True)]
        slices.append(lax.slice(x, (*(0,) * len(leading), *start, 0), (*leading, *stop, channels), steps))
    return slices


def patches(x: Array, size: Sequence[int], strides: Sequence[int], dilation: Sequence[int]) -> Array:
    """Returns the patches of x [b, spatial..., c] as [b, positions..., prod(size) * c].

    Args:
      x: images with their border.
      size, strides, dilation: of the kernel.

    Returns:
      Each position's pixels in one row, the kernel's places in row-major order and the channels innermost.

    >>> patches(jnp.arange(3).reshape(1, 3, 1), (2,), (1,), (1,)).tolist()
    [[[0, 1], [1, 2]]]
    """
    return jnp.concatenate(taps(x, size, strides, dilation), axis=-1)


def stacked_patches(x: Array, size: Sequence[int], strides: Sequence[int], dilation: Sequence[int]) -> Array:
    """Returns the patches of x [b, n, spatial..., c] as [b, n, positions, prod(size), c], with positions in one axis.

    Slices copy runs of numbers and a gather moves single ones, but a large kernel has too many slices.

    Args:
      x: images with their border.
      size, strides, dilation: of the kernel.

    Returns:
      The same pixels as `patches`, with positions, places and channels as axes.

    >>> stacked_patches(jnp.arange(3).reshape(1, 1, 3, 1), (2,), (1,), (1,)).tolist()
    [[[[[0], [1]], [[1], [2]]]]]
    """
    spatial, channels = x.shape[2:-1], x.shape[-1]
    positions = output_size(spatial, size, strides, dilation)
    if math.prod(size) > MAX_SLICED_PLACES:
        rows = jnp.take(
            x.reshape(*x.shape[:2], math.prod(spatial), channels),
            _flat_index(spatial, size, positions, strides, dilation),
            axis=2,
            mode="clip",
        )
        return rows.reshape(*x.shape[:2], math.prod(positions), math.prod(size), channels)
    flat = [tap.reshape(*x.shape[:2], math.prod(positions), channels) for tap in taps(x, size, strides, dilation)]
    if channels > 1:
        return jnp.stack(flat, axis=3)
    # With one channel the runs are along the positions; the product that follows takes the axes in either order.
    return jnp.swapaxes(jnp.stack([tap[..., 0] for tap in flat], axis=2), 2, 3)[..., None]


def _flat_index(spatial, size, positions, strides, dilation) -> np.ndarray:
    """Returns the number of the pixel under each place of a kernel at each of its positions, in one row."""
    rank = len(spatial)
    index = np.zeros((1,) * (2 * rank), np.int32)
    for axis, (k, n, s, d) in enumerate(zip(size, positions, strides, dilation, strict=True)):
        along = (np.arange(n) * s)[:, None] + (np.arange(k) * d)[None]
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = n, k
        index = index * spatial[axis] + along.reshape(shape)
    return index.reshape(-1)
