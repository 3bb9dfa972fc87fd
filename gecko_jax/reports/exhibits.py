"""What a study can show beside its table and curves: charts of dots, grids of pictures, short lists. Plain data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from gecko_jax import checks
from gecko_jax.reports.consistency import check_estimate, check_same_length, check_unique
from gecko_jax.reports.images import START, data_uri
from gecko_jax.types import Array, Estimate


class Dots(NamedTuple):
    """One figure of several things, below each other: each a dot with its interval, and all of them in a table.

    Attributes:
      name: its heading.
      labels: what each is, distinct, in the order in which they are drawn.
      figures: finite, all in `unit`.
      unit, digits: as in a `Column`.
      reference: where a line is drawn (what guessing gives), or None.
      note: how to read it, or "".
    """

    name: str
    labels: Sequence[str]
    figures: Sequence[Estimate]
    unit: str = ""
    digits: int = 2
    reference: float | None = None
    note: str = ""


class Pictures(NamedTuple):
    """Small pictures in a grid.

    Attributes:
      name: its heading.
      images: each a PNG as a data URI.
      captions: one for each, of one line or several ("\\n").
      note: how to read it, or "".
    """

    name: str
    images: Sequence[str]
    captions: Sequence[str]
    note: str = ""

    @classmethod
    def of(cls, name: str, x: Array, captions: Sequence[str], note: str = "") -> Pictures:
        """The pictures x [k, height, width, 1 | 3] of numbers in 0..1 (see `images.are_pictures`)."""
        return cls(name, tuple(data_uri(each) for each in x), tuple(captions), note)


class Listing(NamedTuple):
    """A short table of text: `headings` [c], `lines` [k][c], and how to read it in `note`, or ""."""

    name: str
    headings: Sequence[str]
    lines: Sequence[Sequence[str]]
    note: str = ""


def check_exhibits(dots: Sequence[Dots], pictures: Sequence[Pictures], listings: Sequence[Listing]) -> None:
    """Raises ValueError, naming the part, where one of these cannot be shown."""
    for what, parts in (("dots", dots), ("pictures", pictures), ("listings", listings)):
        check_unique(what, [part.name for part in parts])
    for chart in dots:
        check_same_length(chart.name, {"labels": chart.labels, "figures": chart.figures})
        check_unique(f"labels of {chart.name!r}", list(chart.labels))
        checks.at_least(f"digits of {chart.name!r}", chart.digits, 0)
        for label, estimate in zip(chart.labels, chart.figures, strict=True):
            where = f"figure {label!r} of {chart.name!r}"
            check_estimate(where, estimate, chart.unit, "chart")
            if not all(math.isfinite(end) for end in estimate[:3] if end is not None):
                raise ValueError(f"{where} is {estimate.value!r} [{estimate.low!r}, {estimate.high!r}]; leave it out.")
        if chart.reference is not None and not math.isfinite(chart.reference):
            raise ValueError(f"reference of {chart.name!r}={chart.reference!r} must be finite, or None.")
    for grid in pictures:
        check_same_length(grid.name, {"images": grid.images, "captions": grid.captions})
        for i, image in enumerate(grid.images):
            # A page may ask for nothing, so a picture is inside it or not at all.
            if not image.startswith(START):
                raise ValueError(f"images[{i}] of {grid.name!r} begins {image[:20]!r}; expected {START!r}.")
    for each in listings:
        checks.not_empty(f"lines of {each.name!r}", each.lines)
        for line in each.lines:
            check_same_length(each.name, {"headings": each.headings, "a line": line})
