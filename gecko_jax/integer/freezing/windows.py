"""Pools that are written as slices of an image, joined by sums or maxima: followed by the places that are joined."""

from __future__ import annotations

from typing import Any, NamedTuple

Place = tuple[int, int]


class Windows(NamedTuple):
    """Every window of an image, as far as it is joined: at first one pixel of each.

    Attributes:
      source: number of the operation whose image it is.
      join: "max", "add", or None while nothing is joined.
      places: (row, column) in the window of the pixels that are joined.
      strides: (vertical, horizontal), from one window to the next.
      size: how many windows, (vertical, horizontal).
    """

    source: int
    join: str | None
    places: frozenset[Place]
    strides: Place
    size: Place

    @property
    def window(self) -> Place | None:
        """(height, width) of the window; None if the places are not all of a rectangle that starts at (0, 0)."""
        height, width = (1 + max(place[axis] for place in self.places) for axis in (0, 1))
        return (height, width) if len(self.places) == height * width else None


def sliced(windows: Windows, params: dict[str, Any], shape: tuple[int, ...]) -> Windows | None:
    """Returns what a `slice` step makes of windows; None if it cuts examples or channels.

    Args:
      windows: what it reads, of `shape` [n, height, width, channels].
      params: of the step.
      shape: of what it reads.
    """
    starts, limits = params["start_indices"], params["limit_indices"]
    steps = params["strides"] or (1,) * len(shape)
    if any((starts[axis], limits[axis], steps[axis]) != (0, shape[axis], 1) for axis in (0, 3)):
        return None
    moved = frozenset(
        (row + starts[1] * windows.strides[0], column + starts[2] * windows.strides[1])
        for row, column in windows.places
    )
    strides = windows.strides[0] * steps[1], windows.strides[1] * steps[2]
    size = tuple(-(-(limits[axis] - starts[axis]) // steps[axis]) for axis in (1, 2))
    return windows._replace(places=moved, strides=strides, size=(size[0], size[1]))


def joined(left: Windows, right: Windows, join: str) -> Windows | None:
    """Returns the join of two sets of windows of one image; None if they do not fit each other.

    Args:
      left, right: of one source.
      join: "max" or "add".
    """
    same = (left.source, left.strides, left.size) == (right.source, right.strides, right.size)
    if not same or {left.join, right.join} - {None, join} or (join == "add" and left.places & right.places):
        return None
    return left._replace(join=join, places=left.places | right.places)
