"""Layouts of images: which axis holds the channels, inferred from the shape or given by the caller.

A shift along the channels, or a flip of the rows, is not an augmentation that a model was trained with, and an attack
by it finds nothing. So images are moved only in a layout that is known.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gecko_jax import checks

LAYOUTS = ("channels_last", "channels_first", "features")
CHANNEL_COUNTS = range(1, 5)  # of an image, unless its sides are known because they are equal


def layout_of(shape: tuple[int, ...]) -> str | None:
    """Returns the layout that a shape [n, ., ., .] suggests, or None if it is ambiguous.

    The convention is [n, height, width, channels]. A second axis of 2..4 before two longer ones holds channels; one of
    length 1 does if the other two are equal, because otherwise it may be a series [n, 1, time, features].

    >>> layout_of((5, 28, 28, 1)), layout_of((5, 3, 32, 32)), layout_of((5, 1, 100, 7))
    ('channels_last', 'channels_first', None)
    """
    if len(shape) != 4:
        return "features"
    _, first, middle, last = shape
    square = middle == last
    if last in CHANNEL_COUNTS and first not in CHANNEL_COUNTS:
        return "channels_last"
    if first == 1:
        return "channels_first" if square and middle > 1 else None
    if last in CHANNEL_COUNTS:
        return "channels_first" if square and first != middle else "channels_last"
    if first in CHANNEL_COUNTS:
        return "channels_first"
    if first == middle:
        return "channels_last"
    return "channels_first" if square else None


def image_layout(shape: tuple[int, ...], layout: str | None = None) -> str:
    """Returns `layout`, or the one that the shape of images [n, ., ., .] suggests.

    Raises:
      ValueError: an ambiguous shape without a layout.

    >>> image_layout((5, 3, 32, 32))
    'channels_first'
    """
    layout = checks.one_of("layout", layout, LAYOUTS[:2]) if layout else layout_of(shape)
    if layout is None:
        raise ValueError(
            f"x has shape {tuple(shape)}, and it cannot be told where its channels stand, or whether it holds images: "
            "say layout='channels_last' for (records, height, width, channels), layout='channels_first' for (records, "
            "channels, height, width)."
        )
    return layout


def in_layout(
    move: Callable[[np.ndarray], list[np.ndarray]], x: np.ndarray, layout: str
) -> list[np.ndarray]:
    """Returns move(x) for images x in `layout`; `move` is a function of images with the channels last.

    >>> in_layout(lambda x: [x + 1], np.zeros((5, 3, 8, 8)), "channels_first")[0].shape
    (5, 3, 8, 8)
    """
    if layout == "channels_last":
        return move(x)
    return [np.ascontiguousarray(np.moveaxis(one, -1, 1)) for one in move(np.moveaxis(x, 1, -1))]
