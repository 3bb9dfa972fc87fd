"""The trade-off of a study as a plot: two columns as axes, a third as the markers' area."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gecko_jax.reports import svg
from gecko_jax.reports.labels import Box, place_labels
from gecko_jax.reports.pareto import front
from gecko_jax.reports.study import Column, Row, Study
from gecko_jax.reports.text import heading, in_sentence, place_of, short

LARGEST, SMALLEST = 15.0, 3.0  # radii of markers
MOST_NAMES, WIDEST_NAME = 10, 200  # beyond either, numbers and a key replace the names beside the points


def tradeoff(study: Study, name: str = "plot-tradeoff") -> str:
    """Rows as points: x, y, and the marker's area by the study's `tradeoff`. Filled markers are on the Pareto front.

    Args:
      study: with a tradeoff.
      name: the prefix of the SVG's ids.

    Returns:
      SVG text. Rows that lack one of the figures are not drawn (see `drawn`).

    Raises:
      ValueError: if the study has no trade-off, or no row has its figures.
    """
    rows = drawn(study)
    if not rows:
        raise ValueError("no row has a finite figure for each column of the trade-off; set tradeoff=None for no plot.")
    x, y, size = (next((c for c in study.columns if c.key == key), None) for key in study.tradeoff)
    on_front, points = front(study), [_point(row, x, y) for row in rows]
    areas = np.array([row.figures[size.key].value if size else 0.0 for row in rows])
    radii = [max(LARGEST * (max(area, 0) / areas.max()) ** 0.5, SMALLEST) if areas.max() > 0 else 5.0 for area in areas]
    numbered = len(rows) > MOST_NAMES or max(svg.text_width(row.name) for row in rows) > WIDEST_NAME
    plot_height, top = 300, 58 if size else 36
    fig = svg.figure(top + plot_height + 44 + (18 * len(rows) + 8 if numbered else 0))
    axes = svg.place(fig, 44, top, svg.WIDTH - 44 - 10, plot_height)
    svg.write(fig, 0, 13, f"{heading(y)} ({_wanted(y)} is better)")
    axes.set_xlabel(f"{heading(x)} ({_wanted(x)} is better)", fontsize=svg.TEXT, parse_math=False)
    axes.set_xlim(*_padded([point[0] for point in points]))
    axes.set_ylim(*_padded([point[1] for point in points]))
    for index, (row, ((x0, x1, x2), (y0, y1, y2)), radius) in enumerate(zip(rows, points, radii, strict=True)):
        colour = svg.series(place_of(study, row.name))
        bars = {"xerr": [[x1 - x0], [x2 - x1]], "yerr": [[y1 - y0], [y2 - y1]]}
        bar = axes.errorbar(x1, y1, **bars, fmt="none", ecolor=colour, elinewidth=1.2, capsize=2.5, zorder=2)
        for cap in bar.lines[1]:
            cap.set_markerfacecolor(colour)
        filled = {"facecolor": colour, "alpha": 0.75} if row.name in on_front else {"facecolor": "none"}
        axes.scatter([x1], [y1], s=(2 * radius) ** 2, edgecolor=colour, linewidth=1.6, zorder=3 + index, **filled)
    _label(axes, study, rows, points, radii, numbered)
    if size:
        _size_key(fig, size, areas.max())
    if numbered:
        for index, row in enumerate(rows):
            low = top + plot_height + 54 + 18 * index
            svg.write(fig, 0, low, f"{index + 1}", fontweight="bold", color=svg.series(place_of(study, row.name)))
            svg.write(fig, 24, low, svg.cut(row.name, svg.WIDTH - 24))
    return svg.finish(fig, name, f"{y.heading} against {x.heading}")


def drawn(study: Study) -> tuple[Row, ...]:
    """The rows that the trade-off can show: those with a finite figure for each of its columns."""
    if study.tradeoff is None:
        raise ValueError("tradeoff=None: the study names no columns to plot against each other.")
    keys = [key for key in study.tradeoff if key is not None]
    return tuple(r for r in study.rows if all(k in r.figures and np.isfinite(r.figures[k].value) for k in keys))


def _size_key(fig: Any, column: Column, largest: float) -> None:
    from matplotlib.lines import Line2D

    width, height = fig.get_size_inches() * 72
    start = f"Area: {in_sentence(column.heading)}"
    svg.write(fig, 0, 40, start)
    left = svg.text_width(start) + 14
    for share in (1.0, 0.25):
        radius = LARGEST * share**0.5
        place = [(left + radius) / width], [1 - 36 / height]
        marker = {"marker": "o", "markersize": 2 * radius, "markerfacecolor": "none", "markeredgecolor": svg.INK}
        fig.add_artist(Line2D(*place, linestyle="none", **marker))
        text = short(largest * share, column.unit)
        svg.write(fig, left + 2 * radius + 5, 40, text)
        left += 2 * radius + 5 + svg.text_width(text) + 16


def _label(axes: Any, study: Study, rows: Sequence[Row], points, radii, numbered: bool) -> None:
    """Names (or numbers) beside the points, with a line to the point where the name had to move away."""
    to_units = axes.transData.transform
    middle = [to_units((x[1], y[1])) for x, y in points]
    texts = [str(i + 1) if numbered else row.name for i, row in enumerate(rows)]
    sizes = [(min(svg.text_width(text), svg.WIDTH - 60), svg.TEXT + 2) for text in texts]
    bars = []
    for (x0, x1, x2), (y0, y1, y2) in points:
        (left, low), (right, high), (cx, cy) = to_units((x0, y0)), to_units((x2, y2)), to_units((x1, y1))
        bars += [Box(left - 1, cy - 2, right + 1, cy + 2), Box(cx - 2, low - 1, cx + 2, high + 1)]
    window = axes.get_window_extent()
    room = Box(window.x0 + 2, window.y0 + 2, window.x1 + 8, window.y1)
    boxes = place_labels([(*m, r) for m, r in zip(middle, radii, strict=True)], sizes, room, bars)
    for row, text, box, (x, y), radius in zip(rows, texts, boxes, middle, radii, strict=True):
        near = np.clip(x, box.left, box.right), np.clip(y, box.low, box.high)
        start = axes.transData.inverted().transform((box.left, box.low + 3))
        if np.hypot(near[0] - x, near[1] - y) > radius + 9:
            ends = axes.transData.inverted().transform([near, (x, y)])
            axes.plot(*ends.T, color=svg.series(place_of(study, row.name)), linewidth=0.8, zorder=1.5)
        axes.text(*start, svg.cut(text, svg.WIDTH - 60), color=svg.INK, fontsize=svg.TEXT, zorder=50, parse_math=False)


def _point(row: Row, x: Column, y: Column) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """(low, value, high) on each axis; the bar of a figure without an interval has no length."""
    ends = []
    for value, low, high, *_ in (row.figures[column.key] for column in (x, y)):
        ends.append((value, value, value) if low is None else (min(low, value), value, max(high, value)))
    return tuple(ends)


def _padded(triples: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    low, high = min(t[0] for t in triples), max(t[2] for t in triples)
    pad = 0.12 * (high - low) or max(abs(high) * 0.05, 1e-6)
    return low - pad, high + pad


def _wanted(column: Column) -> str:
    return {"high": "higher", "low": "lower"}[column.better]
