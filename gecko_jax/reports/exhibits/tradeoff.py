"""A trade-off: the table's rows as points, two columns as axes, a third as the markers' area."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.reports import svg
from gecko_jax.reports.exhibits.exhibit import Drawing
from gecko_jax.reports.labels import Box, place_labels
from gecko_jax.reports.pareto import front_rows
from gecko_jax.reports.rows import Column, Row, Table
from gecko_jax.reports.text import heading, in_sentence, place_of, short

MAX_RADIUS, MIN_RADIUS = 15.0, 3.0  # of markers, in units of the drawing
MAX_NAMES, MAX_NAME_WIDTH = 10, 200  # beyond either, numbers and a key replace the names beside the points
CORNERS: Mapping[str | None, tuple[str, str]] = {"high": ("top", "right"), "low": ("bottom", "left")}


class Tradeoff(NamedTuple):
    """Rows as points; filled markers are on the Pareto front, which the table marks too.

    Attributes:
      x, y: keys of the columns on the axes; each says whether "high" or "low" is better.
      area: key of the column in the markers' area, or None.

    >>> exhibit = Tradeoff("ms", "acc", area="bytes")
    >>> exhibit.name, exhibit.keys
    ('acc against ms', ('ms', 'acc', 'bytes'))
    """

    x: str
    y: str
    area: str | None = None

    @property
    def name(self) -> str:
        """The keys of its axes."""
        return f"{self.y} against {self.x}"

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of its columns, two or three."""
        return tuple(key for key in self if key is not None)

    def check(self, table: Table) -> None:
        """Raises ValueError for a column that is not there or has no better end."""
        columns = {column.key: column for column in table.columns}
        for key in self.keys:
            if checks.lookup("tradeoff", key, columns).better is None:
                raise ValueError(f"tradeoff={key!r}: its column must say whether 'high' or 'low' is better.")

    def draw(self, table: Table, prefix: str) -> Drawing | None:
        """Returns the plot of the rows that have a finite figure in each column, or None without such rows."""
        rows = drawn_rows(table, self)
        if not rows:
            return None
        x, y = (next(c for c in table.columns if c.key == key) for key in (self.x, self.y))
        title = f"{y.heading} against {in_sentence(x.heading)}"
        left_out = [row.name for row in table.rows if row not in rows]
        caption = f"Better is toward the {CORNERS[y.better][0]} {CORNERS[x.better][1]}. Bars are 95 % intervals. "
        caption += f"Filled markers: {front_meaning(table, self.keys)}"
        if left_out:
            caption += f" Not shown, because a figure is missing: {checks.listed(left_out)}."
        return Drawing(title, _svg(table, self, rows, prefix, title), caption)


def drawn_rows(table: Table, tradeoff: Tradeoff) -> tuple[Row, ...]:
    """Returns the rows that the plot can show: those with a finite figure in each of its columns."""
    return tuple(
        row
        for row in table.rows
        if all(key in row.figures and np.isfinite(row.figures[key].value) for key in tradeoff.keys)
    )


def front_meaning(table: Table, keys: Sequence[str]) -> str:
    """Returns a sentence that says what being on the Pareto front of these columns means."""
    names = [in_sentence(column.heading) for key in keys for column in table.columns if column.key == key]
    return f"no other row is as good in all of {', '.join(names)} and better in one (the Pareto front)."


def _svg(table: Table, tradeoff: Tradeoff, rows: Sequence[Row], prefix: str, title: str) -> str:
    x, y = (next(c for c in table.columns if c.key == key) for key in (tradeoff.x, tradeoff.y))
    size = next((c for c in table.columns if c.key == tradeoff.area), None)
    on_front, points = front_rows(table, tradeoff.keys), [_point(row, x, y) for row in rows]
    areas = np.array([row.figures[size.key].value if size else 0.0 for row in rows])
    shares = np.maximum(areas, 0) / areas.max() if areas.max() > 0 else np.full(len(rows), 1 / 9)
    radii = np.maximum(MAX_RADIUS * shares**0.5, MIN_RADIUS).tolist()
    numbered = len(rows) > MAX_NAMES or max(svg.text_width(row.name) for row in rows) > MAX_NAME_WIDTH
    plot_height, top = 300, 58 if size else 36
    fig = svg.figure(top + plot_height + 44 + (18 * len(rows) + 8 if numbered else 0))
    axes = svg.place(fig, 44, top, svg.WIDTH - 44 - 10, plot_height)
    svg.write(fig, 0, 13, f"{heading(y)} ({_wanted(y)} is better)")
    axes.set_xlabel(f"{heading(x)} ({_wanted(x)} is better)", fontsize=svg.TEXT, parse_math=False)
    axes.set_xlim(*_padded([point[0] for point in points]))
    axes.set_ylim(*_padded([point[1] for point in points]))
    for index, (row, ((x0, x1, x2), (y0, y1, y2)), radius) in enumerate(zip(rows, points, radii, strict=True)):
        color = svg.series(place_of(table, row.name))
        bars = {"xerr": [[x1 - x0], [x2 - x1]], "yerr": [[y1 - y0], [y2 - y1]]}
        bar = axes.errorbar(x1, y1, **bars, fmt="none", ecolor=color, elinewidth=1.2, capsize=2.5, zorder=2)
        for cap in bar.lines[1]:
            cap.set_markerfacecolor(color)
        filled = {"facecolor": color, "alpha": 0.75} if row.name in on_front else {"facecolor": "none"}
        axes.scatter([x1], [y1], s=(2 * radius) ** 2, edgecolor=color, linewidth=1.6, zorder=3 + index, **filled)
    _label(axes, table, rows, points, radii, numbered)
    if size:
        _size_key(fig, size, areas.max())
    if numbered:
        for index, row in enumerate(rows):
            low = top + plot_height + 54 + 18 * index
            svg.write(fig, 0, low, f"{index + 1}", fontweight="bold", color=svg.series(place_of(table, row.name)))
            svg.write(fig, 24, low, svg.cut(row.name, svg.WIDTH - 24))
    return svg.finish(fig, prefix, title)


def _size_key(fig: Any, column: Column, largest: float) -> None:
    from matplotlib.lines import Line2D

    width, height = fig.get_size_inches() * 72
    start = f"Area: {in_sentence(column.heading)}"
    svg.write(fig, 0, 40, start)
    left = svg.text_width(start) + 14
    for share in (1.0, 0.25):
        radius = MAX_RADIUS * share**0.5
        place = [(left + radius) / width], [1 - 36 / height]
        marker = {"marker": "o", "markersize": 2 * radius, "markerfacecolor": "none", "markeredgecolor": svg.INK}
        fig.add_artist(Line2D(*place, linestyle="none", **marker))
        text = short(largest * share, column.unit)
        svg.write(fig, left + 2 * radius + 5, 40, text)
        left += 2 * radius + 5 + svg.text_width(text) + 16


def _label(axes: Any, table: Table, rows: Sequence[Row], points, radii, numbered: bool) -> None:
    """Writes names (or numbers) beside the points, with a line to the point if the name had to move away."""
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
            axes.plot(*ends.T, color=svg.series(place_of(table, row.name)), linewidth=0.8, zorder=1.5)
        axes.text(*start, svg.cut(text, svg.WIDTH - 60), color=svg.INK, fontsize=svg.TEXT, zorder=50, parse_math=False)


def _point(row: Row, x: Column, y: Column) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Returns (low, value, high) on each axis; the bar of a figure without an interval has no length."""
    ends = []
    for value, low, high, *_ in (row.figures[column.key] for column in (x, y)):
        low, high = value if low is None else low, value if high is None else high
        ends.append((min(low, value), value, max(high, value)))
    return tuple(ends)


def _padded(triples: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    low, high = min(t[0] for t in triples), max(t[2] for t in triples)
    pad = 0.12 * (high - low) or max(abs(high) * 0.05, 1e-6)
    return low - pad, high + pad


def _wanted(column: Column) -> str:
    return "higher" if column.better == "high" else "lower"
