"""Places the labels of points where they cover neither each other nor the points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

CLEARANCE = 6.0  # units between a label and other points' markers


class Box(NamedTuple):
    """A rectangle, whichever way y grows."""

    left: float
    low: float
    right: float
    high: float


def overlap(a: Box, b: Box) -> float:
    """Returns the area that two boxes share; 0 if they only touch."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.high, b.high) - max(a.low, b.low)
    return max(width, 0.0) * max(height, 0.0)


def place_labels(
    points: Sequence[tuple[float, float, float]],
    sizes: Sequence[tuple[float, float]],
    room: Box,
    obstacles: Sequence[Box] = (),
) -> list[Box]:
    """Places a box for each label near its point.

    Every label tries places around its point, from near to far. The labels then move one after another, each to the
    nearest place with the least overlap, until none moves.

    Args:
      points: (x, y, radius) of each marker.
      sizes: (width, height) of each label.
      room: what the labels must stay inside.
      obstacles: further boxes to stay clear of, beside the markers.

    Returns:
      A Box for each label, free of overlap if the places tried allow it.
    """
    markers = [_around(*point, 0) for point in points]
    wide = [_around(*point, CLEARANCE) for point in points]  # a label close to another marker would seem to be its
    fixed = [[*obstacles, markers[i], *wide[:i], *wide[i + 1 :]] for i in range(len(points))]
    tried = [_candidates(*point, *size, room) for point, size in zip(points, sizes, strict=True)]
    costs = [
        [1e-3 * rank + _shared(box, around) for rank, box in enumerate(boxes)]
        for boxes, around in zip(tried, fixed, strict=True)
    ]
    chosen: list[Box | None] = [None] * len(points)
    order = sorted(range(len(points)), key=lambda i: -sizes[i][0])  # the widest first: it has the fewest places
    for _ in range(20):
        before = list(chosen)
        for i in order:
            others = [box for j, box in enumerate(chosen) if j != i and box is not None]
            totals = [cost + _shared(box, others) for cost, box in zip(costs[i], tried[i], strict=True)]
            chosen[i] = tried[i][min(range(len(totals)), key=totals.__getitem__)]
        if chosen == before:
            break
    return [box for box in chosen if box is not None]  # all are: each point has candidates


def _around(x: float, y: float, radius: float, clear: float) -> Box:
    reach = radius + clear
    return Box(x - reach, y - reach, x + reach, y + reach)


def _shared(box: Box, others: Sequence[Box]) -> float:
    return sum(overlap(box, other) for other in others)


def _candidates(x: float, y: float, radius: float, width: float, height: float, room: Box) -> list[Box]:
    """Returns places right, left, above and below, then further out; those outside the room are pushed back inside."""
    boxes = []
    for step in range(14):
        gap = radius + 3 + 0.6 * height * step
        rise = 0.6 * height * step
        for dx in (0, -1, -0.5):  # how much of the label is to the left of its point
            for up in (1, -1):
                aside = gap * {0: 1, -1: -1, -0.5: 0}[dx] * (1 if step == 0 else 0.5)
                left = x + dx * width + aside
                middle = y + up * (rise if dx != -0.5 else gap + height / 2)
                left = min(max(left, room.left), room.right - width)
                low = min(max(middle - height / 2, room.low), room.high - height)
                boxes.append(Box(left, low, left + width, low + height))
    return boxes
