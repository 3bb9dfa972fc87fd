"""Curves and the panels that they are drawn in: what the exhibits of curves share (see `svg` for the colors)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gecko_jax.reports import svg
from gecko_jax.reports.consistency import check_same_length
from gecko_jax.reports.rows import Table
from gecko_jax.reports.text import place_of

DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
MAX_CURVES_PER_PANEL = 8  # colors repeat after eight


class Curve(NamedTuple):
    """A line y(x), with a band from low to high or without. All are sequences of one length.

    The name is a row's, or begins with a row's and a comma ("XNOR, test"): the curve then has the row's color.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None

    def check(self) -> None:
        """Raises ValueError unless all parts have one length, and the band, if there is one, two sides."""
        parts = {key: part for key, part in self._asdict().items() if key != "name" and part is not None}
        check_same_length(self.name, parts)
        if (self.low is None) != (self.high is None):
            raise ValueError(f"curve {self.name!r} has only one side of its band; give both low and high, or neither.")


class Pen(NamedTuple):
    """How a curve is drawn.

    Attributes:
      color, dash: of the line.
      floor: the lower end of a logarithmic axis, which keeps zeros from minus infinity; None for a linear axis.
      steps: whether y keeps its value up to the next x.
    """

    color: str
    dash: Any
    floor: float | None = None
    steps: bool = False


class Panels(NamedTuple):
    """Panels of curves, one below the other, each with its key.

    Attributes:
      title: what is drawn, for those who hear the page.
      x_title, y_title: of the axes.
      height: of each panel, in units of the drawing.
      prepare: gets each panel's axes before the curves are drawn.
    """

    title: str
    x_title: str
    y_title: str
    height: float
    prepare: Callable[[Any], None] = lambda axes: None


def owner(table: Table, name: str) -> str:
    """Returns the row that a curve belongs to: "XNOR" of "XNOR, test"; its own name if it is not a row's."""
    owned = [row.name for row in table.rows if name == row.name or name.startswith(f"{row.name}, ")]
    return max(owned, key=len, default=name)


def pen(table: Table, curve: Curve, number: int, floor: float | None = None) -> Pen:
    """Returns the pen of the number-th curve of a panel: its row's color, and steps if the axes are logarithmic."""
    color = svg.series(place_of(table, owner(table, curve.name)))
    return Pen(color, DASHES[number % len(DASHES)], floor, floor is not None)


def spread(curves: Sequence[Curve], most: int) -> list[Sequence[Curve]]:
    """Returns the curves in as few groups of at most `most` as hold them, all of about one size."""
    size = -(-len(curves) // -(-len(curves) // most))
    return [curves[i : i + size] for i in range(0, len(curves), size)]


def draw_panels(panels: Sequence[Sequence[tuple[Curve, Pen]]], style: Panels, prefix: str) -> str:
    """Returns SVG text of panels of curves, each with a key of two columns below it, or one if a name is long."""
    columns = [1 if max(svg.text_width(c.name) for c, _ in panel) > svg.WIDTH / 2 - 40 else 2 for panel in panels]
    keys = [18 * -(-len(panel) // count) for panel, count in zip(panels, columns, strict=True)]
    fig = svg.figure(sum(keys) + len(panels) * (style.height + 76))
    top = 0
    for panel, count, key in zip(panels, columns, keys, strict=True):
        svg.write(fig, 0, top + 13, style.y_title)
        axes = svg.place(fig, 44, top + 22, svg.WIDTH - 54, style.height)
        style.prepare(axes)
        axes.set_xlabel(style.x_title, fontsize=svg.TEXT)
        svg.plain_ticks(axes)
        for i, (curve, curve_pen) in enumerate(panel):
            draw_curve(axes, curve, curve_pen)
            left, low = 4 + (i % count) * svg.WIDTH / 2, top + style.height + 74 + 18 * (i // count)
            svg.key(fig, left, low, curve.name, curve_pen.color, curve_pen.dash)
        top += style.height + 76 + key
    return svg.finish(fig, prefix, style.title)


def draw_curve(axes: Any, curve: Curve, pen: Pen) -> None:
    """Draws a curve and its band."""
    parts = [np.asarray(part, float) for part in (curve.x, curve.y, curve.low, curve.high) if part is not None]
    if pen.floor is not None:
        parts = [np.maximum(part, pen.floor / 10) for part in parts]
    lines, areas = ({"drawstyle": "steps-post"}, {"step": "post"}) if pen.steps else ({}, {})
    (line,) = axes.plot(parts[0], parts[1], color=pen.color, linestyle=pen.dash, linewidth=1.6, zorder=3, **lines)
    line.get_path().should_simplify = not pen.steps  # simplified, small steps become slanted lines
    if len(parts) == 4:
        axes.fill_between(parts[0], parts[2], parts[3], color=pen.color, alpha=0.13, linewidth=0, zorder=2, **areas)


def draw_multiples(
    names: Sequence[str],
    draw: Callable[[Any, str], None],
    keys: Sequence[tuple[str, Pen]],
    axes_title: str,
    title: str,
    prefix: str,
) -> str:
    """Returns SVG text of small panels, two beside each other, that share their axes.

    Args:
      names: of the panels.
      draw: (axes, name) draws into one of them.
      keys: (text, pen) of the key, which stands once, on top.
      axes_title: of both axes, stands on top too.
      title: what is drawn, for those who hear the page.
      prefix: begins every id.
    """
    tall, gap, head = 96, 22, 62
    wide = (svg.WIDTH - 40 - gap - 8) / 2
    fig = svg.figure(head + -(-len(names) // 2) * (tall + 44))
    left = 4.0
    for text, key_pen in keys:
        svg.key(fig, left, 13, text, key_pen.color, key_pen.dash)
        left += 34 + svg.text_width(text) + 14
    svg.write(fig, 0, 34, axes_title)
    for i, name in enumerate(names):
        x, y = 40 + (i % 2) * (wide + gap), head + (i // 2) * (tall + 44)
        axes = svg.place(fig, x, y, wide, tall)
        draw(axes, name)
        axes.locator_params(axis="x", nbins=3)
        svg.plain_ticks(axes)
        if i % 2:
            axes.tick_params(labelleft=False)
        svg.write(fig, x, y - 6, svg.cut(name, wide), fontweight="bold")
    return svg.finish(fig, prefix, title)
