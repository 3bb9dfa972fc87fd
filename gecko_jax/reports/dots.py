"""A chart of dots: one figure of several things, each with its interval and its value."""

from __future__ import annotations

import numpy as np

from gecko_jax.reports import svg
from gecko_jax.reports.exhibits import Dots
from gecko_jax.reports.text import number

MOST = 20  # lines that are drawn; a longer chart is no longer read as one
STEP = 20  # from line to line
WIDEST, WIDEST_VALUE = 150, 90  # of a label and of a figure, in units


def dots_chart(chart: Dots, name: str = "plot-dots") -> str:
    """The first `MOST` figures of a chart as SVG text (see `svg` for its colours).

    Args:
      chart: what to draw; the rest of it stands in the page's table.
      name: the prefix of the SVG's ids.
    """
    labels, figures = chart.labels[:MOST], chart.figures[:MOST]
    values = [f"{number(figure.value, chart.digits)} {chart.unit}".strip() for figure in figures]
    left = 10 + min(max(map(svg.text_width, labels)), WIDEST)
    widths = [svg.text_width(f"{number(figure.value, chart.digits)} ") for figure in figures]
    right = 10 + max(min(max(map(svg.text_width, values)), WIDEST_VALUE), *widths)  # a unit may be cut, never a number
    head, tall = 8, STEP * len(labels)
    fig = svg.figure(head + tall + 26)
    axes = svg.place(fig, left, head, svg.WIDTH - left - right, tall)
    y = np.arange(len(labels))
    for at, figure in zip(y, figures, strict=True):
        if figure.low is not None:
            axes.plot([figure.low, figure.high], [at, at], color=svg.series(0), linewidth=2, alpha=0.55, zorder=2)
    axes.scatter([figure.value for figure in figures], y, s=34, color=svg.series(0), linewidth=0, zorder=3)
    if chart.reference is not None:
        axes.axvline(chart.reference, color=svg.INK, linewidth=1, linestyle=(0, (3, 3)), zorder=1)
    axes.set(ylim=(len(labels) - 0.5, -0.5), xlim=_span(chart, figures))
    axes.locator_params(axis="x", nbins=5)
    svg.plain_ticks(axes)
    axes.tick_params(axis="y", left=False, labelleft=False)
    axes.grid(False, axis="y")
    axes.spines["left"].set_visible(False)
    for at, label, value in zip(y, labels, values, strict=True):
        low = head + STEP * (at + 0.5) + 4
        svg.write(fig, 0, low, svg.cut(label, WIDEST))
        svg.write(fig, svg.WIDTH, low, svg.cut(value, right - 10), ha="right")
    return svg.finish(fig, name, chart.name)


def _span(chart: Dots, figures) -> tuple[float, float]:
    ends = [end for figure in figures for end in figure[:3] if end is not None]
    ends += [] if chart.reference is None else [chart.reference]
    low, high = min(ends), max(ends)
    pad = 0.05 * (high - low) or max(abs(high) * 0.05, 1e-6)
    return low - pad, high + pad
