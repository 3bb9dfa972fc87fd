"""The plots of a study, each a function of plain records that returns SVG text (see `svg` for their colours)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gecko_jax.reports import svg
from gecko_jax.reports.labels import Box, place_labels
from gecko_jax.reports.pareto import front
from gecko_jax.reports.study import Column, Curve, Histogram, Row, Study
from gecko_jax.reports.text import heading, short

DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))
LARGEST, SMALLEST = 15.0, 3.0  # radii of markers
NUMBERED_ABOVE = 10  # points, beyond which numbers and a key replace names beside them
LINES_A_PANEL = 8


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
        raise ValueError("no row has a finite figure for each of the trade-off's columns; set tradeoff=None for no plot.")
    x, y, size = (next((c for c in study.columns if c.key == key), None) for key in study.tradeoff)
    on_front, points = front(study), [_point(row, x, y) for row in rows]
    areas = np.array([row.figures[size.key].value if size else 0.0 for row in rows])
    radii = np.maximum(LARGEST * np.sqrt(np.maximum(areas, 0) / max(areas.max(), 1e-300)), SMALLEST) if size else [5.0] * len(rows)
    numbered = len(rows) > NUMBERED_ABOVE
    plot_height, top = 300, 58 if size else 36
    fig = svg.figure(top + plot_height + 44 + (18 * len(rows) + 8 if numbered else 0))
    axes = svg.place(fig, 44, top, svg.WIDTH - 44 - 10, plot_height)
    svg.write(fig, 0, 13, f"↑ {heading(y)} ({_wanted(y)} is better)")
    axes.set_xlabel(f"{heading(x)} ({_wanted(x)} is better) →", fontsize=svg.TEXT, parse_math=False)
    axes.set_xlim(*_padded([point[0] for point in points]))
    axes.set_ylim(*_padded([point[1] for point in points]))
    for index, (row, ((x0, x1, x2), (y0, y1, y2)), radius) in enumerate(zip(rows, points, radii, strict=True)):
        colour = svg.series(_index(study, row.name))
        bars = {"xerr": [[x1 - x0], [x2 - x1]], "yerr": [[y1 - y0], [y2 - y1]]}
        axes.errorbar(x1, y1, **bars, fmt="none", ecolor=colour, elinewidth=1.2, capsize=2.5, zorder=2)
        filled = {"facecolor": colour, "alpha": 0.75} if row.name in on_front else {"facecolor": "none"}
        axes.scatter([x1], [y1], s=(2 * radius) ** 2, edgecolor=colour, linewidth=1.6, zorder=3 + index, **filled)
    _label(axes, study, rows, points, radii, numbered)
    if size:
        _size_key(fig, size, areas.max())
    if numbered:
        for index, row in enumerate(rows):
            svg.write(fig, 4, top + plot_height + 52 + 18 * index, f"{index + 1}  {row.name}")
    return svg.finish(fig, name, f"{y.heading} against {x.heading}")


def drawn(study: Study) -> tuple[Row, ...]:
    """The rows that the trade-off can show: those with a finite figure for each of its columns."""
    if study.tradeoff is None:
        raise ValueError("tradeoff=None: the study names no columns to plot against each other.")
    keys = [key for key in study.tradeoff if key is not None]
    return tuple(r for r in study.rows if all(k in r.figures and np.isfinite(r.figures[k].value) for k in keys))


def rocs(study: Study, name: str = "plot-roc") -> str:
    """The attacks' ROC curves on logarithmic axes, with bands and the line of guessing, eight curves a panel."""
    positive = np.concatenate([np.asarray(c.x, float)[np.asarray(c.x, float) > 0] for c in study.rocs] or [[1.0]])
    lowest = 10 ** np.floor(np.log10(np.clip(positive.min(initial=0.1), 1e-6, 0.1)) + 1e-9)

    def prepare(axes):
        axes.set(xscale="log", yscale="log", xlim=(lowest, 1), ylim=(lowest, 1))
        axes.plot([lowest, 1], [lowest, 1], color=svg.INK, linewidth=1, linestyle=(0, (3, 3)), zorder=1)

    titles = ("↑ True-positive rate", "False-positive rate →")
    return _lines(study, study.rocs, name, titles, "ROC curves of the attacks", 300, prepare, floor=lowest)


def losses(study: Study, name: str = "plot-losses") -> str:
    """Training curves: one panel of all, or, where rows have several curves each, a small panel for every row."""
    owners = [_owner(study, curve.name) for curve in study.losses]
    titles = ("↑ Loss", "Epoch →")
    if len(set(owners)) == len(owners):
        return _lines(study, study.losses, name, titles, "Training curves", 240, lambda axes: None)
    groups = {owner: [c for c, o in zip(study.losses, owners, strict=True) if o == owner] for owner in owners}
    parts = list(dict.fromkeys(_part(study, curve.name) for curve in study.losses))
    values = np.concatenate([np.ravel([c.y, c.y if c.low is None else c.low, c.y if c.high is None else c.high])
                             for c in study.losses]).astype(float)
    ends = _span(values), _span(np.concatenate([np.asarray(c.x, float) for c in study.losses]))

    def draw(axes, owner):
        for curve in groups[owner]:
            number = parts.index(_part(study, curve.name))
            _draw(axes, curve, svg.series(number), DASHES[number % len(DASHES)])
        axes.set(ylim=ends[0], xlim=ends[1])

    keys = [(part, svg.series(i), DASHES[i % len(DASHES)]) for i, part in enumerate(parts)]
    return _multiples(list(groups), draw, name, titles, keys, "Training curves")


def histograms(study: Study, name: str = "plot-histograms") -> str:
    """The signal of members and of non-members, as shares of each, a small panel for every histogram."""
    shares = [_shares(histogram) for histogram in study.histograms]
    seen = np.concatenate([np.ravel(pair) for pair in shares])
    ends = (seen[seen > 0].min(initial=1.0) * 0.7, min(seen.max(initial=0.0) * 1.6, 1.3))
    by_name = dict(zip([histogram.name for histogram in study.histograms], zip(study.histograms, shares, strict=True), strict=True))

    def draw(axes, key):
        histogram, (members, others) = by_name[key]
        floored = [np.where(part > 0, part, ends[0] / 10) for part in (members, others)]
        axes.stairs(floored[0], histogram.edges, baseline=ends[0] / 10, fill=True, color=svg.series(0), alpha=0.3, linewidth=0)
        axes.stairs(floored[0], histogram.edges, baseline=None, color=svg.series(0), linewidth=1.5)
        axes.stairs(floored[1], histogram.edges, baseline=None, color=svg.series(1), linewidth=1.5, linestyle=DASHES[1])
        axes.set(yscale="log", ylim=ends, xlim=(histogram.edges[0], histogram.edges[-1]))

    keys = [("members", svg.series(0), DASHES[0]), ("non-members", svg.series(1), DASHES[1])]
    titles = ("↑ Share of records", "Signal →")
    return _multiples(list(by_name), draw, name, titles, keys, "Signals of members and non-members")


def _lines(study: Study, curves: Sequence[Curve], name, titles, title, height, prepare, floor=None) -> str:
    """Curves in panels of eight, one below the other, each with its key in two columns below it."""
    panels = [curves[i : i + LINES_A_PANEL] for i in range(0, len(curves), LINES_A_PANEL)]
    columns = [1 if max(svg.text_width(c.name) for c in panel) > svg.WIDTH / 2 - 40 else 2 for panel in panels]
    keys = [18 * -(-len(panel) // count) for panel, count in zip(panels, columns, strict=True)]
    fig = svg.figure(sum(keys) + len(panels) * (height + 76))
    top = 0
    for panel, count, key in zip(panels, columns, keys, strict=True):
        svg.write(fig, 0, top + 13, titles[0])
        axes = svg.place(fig, 44, top + 22, svg.WIDTH - 54, height)
        prepare(axes)
        axes.set_xlabel(titles[1], fontsize=svg.TEXT)
        for i, curve in enumerate(panel):
            colour, dash = svg.series(_index(study, _owner(study, curve.name))), DASHES[i % len(DASHES)]
            _draw(axes, curve, colour, dash, floor)
            left, low = 4 + (i % count) * svg.WIDTH / 2, top + height + 74 + 18 * (i // count)
            _key(fig, left, low, curve.name, colour, dash)
        top += height + 76 + key
    return svg.finish(fig, name, title)


def _multiples(names: list[str], draw, name: str, titles: tuple[str, str], keys, title: str) -> str:
    """Small panels, two beside each other, that share their axes; the key and the axes' titles stand once, on top."""
    tall, wide, head = 96, (svg.WIDTH - 40 - 14) / 2, 62
    rows = -(-len(names) // 2)
    fig = svg.figure(head + rows * (tall + 44))
    left = 4.0
    for text, colour, dash in keys:
        _key(fig, left, 13, text, colour, dash)
        left += 34 + svg.text_width(text) + 14
    svg.write(fig, 0, 34, f"{titles[0]}     {titles[1]}")
    for i, each in enumerate(names):
        x, y = 40 + (i % 2) * (wide + 14), head + (i // 2) * (tall + 44)
        axes = svg.place(fig, x, y, wide, tall)
        draw(axes, each)
        axes.locator_params(axis="x", nbins=4)
        if i % 2:
            axes.tick_params(labelleft=False)
        svg.write(fig, x, y - 6, _cut(each, wide), fontweight="bold")
    return svg.finish(fig, name, title)


def _draw(axes: Any, curve: Curve, colour: str, dash: Any, floor: float | None = None) -> None:
    parts = [np.asarray(part, float) for part in (curve.x, curve.y, curve.low, curve.high) if part is not None]
    if floor is not None:  # a logarithmic axis: what lies below its end would be drawn down to minus infinity
        parts = [part[parts[0] > 0] for part in parts]
        parts = [parts[0], *(np.maximum(part, floor / 10) for part in parts[1:])]
    axes.plot(parts[0], parts[1], color=colour, linestyle=dash, linewidth=1.6, zorder=3)
    if len(parts) == 4:
        axes.fill_between(parts[0], parts[2], parts[3], color=colour, alpha=0.13, linewidth=0, zorder=2)


def _key(fig: Any, left: float, low: float, text: str, colour: str, dash: Any) -> None:
    """A sample of a line and its name."""
    from matplotlib.lines import Line2D

    width, height = fig.get_size_inches() * 72
    y = 1 - (low - 4) / height
    fig.add_artist(Line2D([left / width, (left + 24) / width], [y, y], color=colour, linestyle=dash, linewidth=2))
    svg.write(fig, left + 30, low, _cut(text, svg.WIDTH - left - 30))


def _size_key(fig: Any, column: Column, largest: float) -> None:
    from matplotlib.lines import Line2D

    width, height = fig.get_size_inches() * 72
    start = f"Area: {column.heading.lower()}"
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
            axes.plot(*ends.T, color=svg.series(_index(study, row.name)), linewidth=0.8, zorder=1.5)
        axes.text(*start, _cut(text, svg.WIDTH - 60), color=svg.INK, fontsize=svg.TEXT, zorder=50, parse_math=False)


def _point(row: Row, x: Column, y: Column) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """(low, value, high) on each axis; without an interval, or with one that its value is outside of, the bar has no length."""
    figures = [row.figures[column.key] for column in (x, y)]
    return tuple((f.value, f.value, f.value) if f.low is None else (min(f.low, f.value), f.value, max(f.high, f.value)) for f in figures)


def _padded(triples: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    low, high = min(t[0] for t in triples), max(t[2] for t in triples)
    pad = 0.12 * (high - low) or max(abs(high) * 0.05, 1e-6)
    return low - pad, high + pad


def _span(values: np.ndarray) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    low, high = values.min(initial=np.inf), values.max(initial=-np.inf)
    return (low, high) if low < high else (low - 0.5, low + 0.5) if low == high else (0.0, 1.0)


def _shares(histogram: Histogram) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.asarray(part, float) / max(np.sum(part), 1) for part in (histogram.members, histogram.nonmembers))


def _wanted(column: Column) -> str:
    return {"high": "higher", "low": "lower"}[column.better]


def _index(study: Study, name: str) -> int:
    """The row's place, which gives its colour everywhere; a name that is no row's counts on from the last."""
    names = [row.name for row in study.rows]
    return names.index(name) if name in names else len(names)


def _owner(study: Study, name: str) -> str:
    """The row that a curve belongs to: "XNOR, test" is XNOR's; a curve that is no row's belongs to itself."""
    owned = [row.name for row in study.rows if name == row.name or name.startswith(f"{row.name}, ")]
    return max(owned, key=len, default=name)


def _part(study: Study, name: str) -> str:
    """What of its row a curve shows: "test" of "XNOR, test"."""
    return name[len(_owner(study, name)) :].removeprefix(", ") or "loss"


def _cut(text: str, width: float) -> str:
    while svg.text_width(text) > width and len(text) > 4:
        text = text[:-2] + "…"
    return text
