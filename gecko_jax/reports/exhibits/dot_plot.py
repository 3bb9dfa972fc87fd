"""A dot plot: one figure of several things, each with its interval and its value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.reports import svg
from gecko_jax.reports.consistency import check_estimate, check_same_length, check_unique
from gecko_jax.reports.exhibits.exhibit import Drawing, html_table
from gecko_jax.reports.rows import Table
from gecko_jax.reports.text import number
from gecko_jax.types import Estimate

MAX_DOTS = 20  # a longer plot can no longer be read as one
LINE_HEIGHT = 20  # all lengths in units of the drawing
MAX_LABEL_WIDTH, MAX_VALUE_WIDTH = 150, 90


class DotPlot(NamedTuple):
    """A dot plot: one figure of several models or attacks, each a dot with its interval, and all of them in a table.

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

    def check(self, table: Table) -> None:
        """Raises ValueError unless each figure has a distinct label, is finite and in the plot's unit."""
        del table
        check_same_length(self.name, {"labels": self.labels, "figures": self.figures})
        check_unique(f"labels of {self.name!r}", list(self.labels))
        checks.at_least(f"digits of {self.name!r}", self.digits, 0)
        for label, estimate in zip(self.labels, self.figures, strict=True):
            where = f"figure {label!r} of {self.name!r}"
            check_estimate(where, estimate, self.unit, "plot")
            if not all(math.isfinite(end) for end in estimate[:3] if end is not None):
                raise ValueError(f"{where} is {estimate.value!r} [{estimate.low!r}, {estimate.high!r}]; leave it out.")
        if self.reference is not None and not math.isfinite(self.reference):
            raise ValueError(f"reference of {self.name!r}={self.reference!r} must be finite, or None.")

    def draw(self, table: Table, prefix: str) -> Drawing:
        """Returns the plot of the first `MAX_DOTS` figures, and all of them in a table under a fold."""
        del table
        lines = []
        for label, figure in zip(self.labels, self.figures, strict=True):
            ends = (number(end, self.digits) for end in (figure.low, figure.high) if end is not None)
            lines.append([label, number(figure.value, self.digits), " to ".join(ends)])
        more = len(self.labels) - MAX_DOTS
        left_out = f"The first {MAX_DOTS} are drawn; the table has {more} more." if more > 0 else ""
        heading = f"Figure, {self.unit}" if self.unit else "Figure"
        fold = f"<summary>Table of these figures</summary>{html_table(['', heading, '95 % interval'], lines)}"
        caption = " ".join(filter(None, [self.note, left_out]))
        return Drawing(self.name, _svg(self, prefix), caption, f"<details>{fold}</details>")


def _svg(plot: DotPlot, prefix: str) -> str:
    labels, figures = plot.labels[:MAX_DOTS], plot.figures[:MAX_DOTS]
    values = [f"{number(figure.value, plot.digits)} {plot.unit}".strip() for figure in figures]
    left = 10 + min(max(map(svg.text_width, labels)), MAX_LABEL_WIDTH)
    widths = [svg.text_width(f"{number(figure.value, plot.digits)} ") for figure in figures]
    right = 10 + max(min(max(map(svg.text_width, values)), MAX_VALUE_WIDTH), *widths)  # a number is never cut
    head, tall = 8, LINE_HEIGHT * len(labels)
    fig = svg.figure(head + tall + 26)
    axes = svg.place(fig, left, head, svg.WIDTH - left - right, tall)
    y = np.arange(len(labels))
    for at, figure in zip(y, figures, strict=True):
        if figure.low is not None:
            axes.plot([figure.low, figure.high], [at, at], color=svg.series(0), linewidth=2, alpha=0.55, zorder=2)
    axes.scatter([figure.value for figure in figures], y, s=34, color=svg.series(0), linewidth=0, zorder=3)
    if plot.reference is not None:
        axes.axvline(plot.reference, color=svg.INK, linewidth=1, linestyle=(0, (3, 3)), zorder=1)
    axes.set(ylim=(len(labels) - 0.5, -0.5), xlim=_span(plot, figures))
    axes.locator_params(axis="x", nbins=5)
    svg.plain_ticks(axes)
    axes.tick_params(axis="y", left=False, labelleft=False)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    for at, label, value in zip(y, labels, values, strict=True):
        low = head + LINE_HEIGHT * (at + 0.5) + 4
        svg.write(fig, 0, low, svg.cut(label, MAX_LABEL_WIDTH))
        svg.write(fig, svg.WIDTH, low, svg.cut(value, right - 10), ha="right")
    return svg.finish(fig, prefix, plot.name)


def _span(plot: DotPlot, figures: Sequence[Estimate]) -> tuple[float, float]:
    ends = [end for figure in figures for end in figure[:3] if end is not None]
    ends += [] if plot.reference is None else [plot.reference]
    low, high = min(ends), max(ends)
    pad = 0.05 * (high - low) or max(abs(high) * 0.05, 1e-6)
    return low - pad, high + pad
