"""The plots of a study, each a function of plain records that returns SVG text (see `svg` for their colours)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gecko_jax.reports import svg
from gecko_jax.reports.study import Curve, Histogram, Study
from gecko_jax.reports.text import place_of
from gecko_jax.reports.tradeoff import drawn, tradeoff

__all__ = ["drawn", "histograms", "losses", "rocs", "tradeoff"]

DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))


def rocs(study: Study, name: str = "plot-roc") -> str:
    """The attacks' ROC curves on logarithmic axes, with bands and the line of guessing, some curves a panel.

    They are steps: between two of its points an attack has the lower one's rate of true positives, and no rate that a
    slanted line would give it. The study's ceiling is a bound at every point, and a smooth line.
    """
    positive = np.concatenate([np.asarray(c.x, float)[np.asarray(c.x, float) > 0] for c in study.rocs] or [[1.0]])
    lowest = 10 ** np.floor(np.log10(np.clip(positive.min(initial=0.1), 1e-6, 0.1)) + 1e-9)

    def prepare(axes):
        axes.set(xscale="log", yscale="log", xlim=(lowest, 1), ylim=(lowest, 1))
        axes.plot([lowest, 1], [lowest, 1], color=svg.INK, linewidth=1, linestyle=(0, (3, 3)), zorder=1)

    titles = ("True-positive rate", "False-positive rate")
    return _lines(
        study, study.rocs, name, titles, "ROC curves of the attacks", 300, prepare, floor=lowest, ceiling=study.ceiling
    )


def losses(study: Study, name: str = "plot-losses") -> str:
    """Training curves: one panel of all, or, where rows have several curves each, a small panel for every row."""
    owners = [_owner(study, curve.name) for curve in study.losses]
    titles = ("Loss", "Epoch")
    if len(set(owners)) == len(owners):
        return _lines(study, study.losses, name, titles, "Training curves", 240, lambda axes: None)
    groups = {owner: [c for c, o in zip(study.losses, owners, strict=True) if o == owner] for owner in owners}
    parts = list(dict.fromkeys(_part(study, curve.name) for curve in study.losses))
    values = np.concatenate(
        [np.ravel([c.y, c.y if c.low is None else c.low, c.y if c.high is None else c.high]) for c in study.losses]
    ).astype(float)
    ends = _span(values), _span(np.concatenate([np.asarray(c.x, float) for c in study.losses]))

    def draw(axes, owner):
        for curve in groups[owner]:
            number = parts.index(_part(study, curve.name))
            _draw(axes, curve, svg.series(number), DASHES[number % len(DASHES)])
        axes.set(ylim=ends[0], xlim=ends[1])

    keys = [(part, svg.series(i), DASHES[i % len(DASHES)]) for i, part in enumerate(parts)]
    return _multiples(list(groups), draw, name, "Loss, by epoch", keys, "Training curves")


def histograms(study: Study, name: str = "plot-histograms") -> str:
    """The signal of members and of non-members, as shares of each, a small panel for every histogram."""
    shares = [_shares(histogram) for histogram in study.histograms]
    seen = np.concatenate([np.ravel(pair) for pair in shares])
    ends = (seen[seen > 0].min(initial=0.1) * 0.7, min(seen.max(initial=0.1) * 1.6, 1.3))
    by_name = {h.name: (h, *pair) for h, pair in zip(study.histograms, shares, strict=True)}

    def draw(axes, key):
        histogram, *parts = by_name[key]
        bottom = ends[0] / 10  # an empty bin, on a logarithmic axis
        members, others = (np.where(part > 0, part, bottom) for part in parts)
        axes.stairs(members, histogram.edges, baseline=bottom, fill=True, color=svg.series(0), alpha=0.3, linewidth=0)
        axes.stairs(members, histogram.edges, baseline=None, color=svg.series(0), linewidth=1.5)
        axes.stairs(others, histogram.edges, baseline=None, color=svg.series(1), linewidth=1.5, linestyle=DASHES[1])
        axes.set(yscale="log", ylim=ends, xlim=(histogram.edges[0], histogram.edges[-1]))

    keys = [("members", svg.series(0), DASHES[0]), ("non-members", svg.series(1), DASHES[1])]
    title = "Signals of members and non-members"
    return _multiples(list(by_name), draw, name, "Share of records, by signal", keys, title)


def _lines(
    study: Study,
    curves: Sequence[Curve],
    name: str,
    titles: tuple[str, str],
    title: str,
    height: float,
    prepare: Any,
    floor: float | None = None,
    ceiling: Curve | None = None,
) -> str:
    """Curves in panels, one below the other, each with its key in two columns below it; the ceiling in every panel."""
    most = study.curves_a_panel
    panels = [[*curves[i : i + most], *([ceiling] if ceiling else [])] for i in range(0, len(curves), most)]
    columns = [1 if max(svg.text_width(c.name) for c in panel) > svg.WIDTH / 2 - 40 else 2 for panel in panels]
    keys = [18 * -(-len(panel) // count) for panel, count in zip(panels, columns, strict=True)]
    fig = svg.figure(sum(keys) + len(panels) * (height + 76))
    top = 0
    for panel, count, key in zip(panels, columns, keys, strict=True):
        svg.write(fig, 0, top + 13, titles[0])
        axes = svg.place(fig, 44, top + 22, svg.WIDTH - 54, height)
        prepare(axes)
        axes.set_xlabel(titles[1], fontsize=svg.TEXT)
        svg.plain_ticks(axes)
        for i, curve in enumerate(panel):
            colour, dash = svg.series(place_of(study, _owner(study, curve.name))), DASHES[i % len(DASHES)]
            if curve is ceiling:
                colour, dash = svg.INK, DASHES[0]
            _draw(axes, curve, colour, dash, floor, stepped=floor is not None and curve is not ceiling)
            left, low = 4 + (i % count) * svg.WIDTH / 2, top + height + 74 + 18 * (i // count)
            svg.key(fig, left, low, curve.name, colour, dash)
        top += height + 76 + key
    return svg.finish(fig, name, title)


def _multiples(names: list[str], draw: Any, name: str, axes_title: str, keys: list[tuple], title: str) -> str:
    """Small panels, two beside each other, that share their axes; the key and the axes' titles stand once, on top."""
    tall, gap, head = 96, 22, 62
    wide = (svg.WIDTH - 40 - gap - 8) / 2
    rows = -(-len(names) // 2)
    fig = svg.figure(head + rows * (tall + 44))
    left = 4.0
    for text, colour, dash in keys:
        svg.key(fig, left, 13, text, colour, dash)
        left += 34 + svg.text_width(text) + 14
    svg.write(fig, 0, 34, axes_title)
    for i, each in enumerate(names):
        x, y = 40 + (i % 2) * (wide + gap), head + (i // 2) * (tall + 44)
        axes = svg.place(fig, x, y, wide, tall)
        draw(axes, each)
        axes.locator_params(axis="x", nbins=3)
        svg.plain_ticks(axes)
        if i % 2:
            axes.tick_params(labelleft=False)
        svg.write(fig, x, y - 6, svg.cut(each, wide), fontweight="bold")
    return svg.finish(fig, name, title)


def _draw(
    axes: Any, curve: Curve, colour: str, dash: Any, floor: float | None = None, stepped: bool = False
) -> None:
    parts = [np.asarray(part, float) for part in (curve.x, curve.y, curve.low, curve.high) if part is not None]
    if floor is not None:  # a logarithmic axis: what lies below its end would be drawn down to minus infinity
        parts = [np.maximum(part, floor / 10) for part in parts]
    lines, areas = ({"drawstyle": "steps-post"}, {"step": "post"}) if stepped else ({}, {})
    (line,) = axes.plot(parts[0], parts[1], color=colour, linestyle=dash, linewidth=1.6, zorder=3, **lines)
    line.get_path().should_simplify = not stepped  # simplified, small steps become slanted lines
    if len(parts) == 4:
        axes.fill_between(parts[0], parts[2], parts[3], color=colour, alpha=0.13, linewidth=0, zorder=2, **areas)


def _span(values: np.ndarray) -> tuple[float, float]:
    values = values[np.isfinite(values)]
    low, high = values.min(initial=np.inf), values.max(initial=-np.inf)
    return (low, high) if low < high else (low - 0.5, low + 0.5) if low == high else (0.0, 1.0)


def _shares(histogram: Histogram) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.asarray(part, float) / max(np.sum(part), 1) for part in (histogram.members, histogram.nonmembers))


def _owner(study: Study, name: str) -> str:
    """The row that a curve belongs to: "XNOR, test" is XNOR's; a curve that is no row's belongs to itself."""
    owned = [row.name for row in study.rows if name == row.name or name.startswith(f"{row.name}, ")]
    return max(owned, key=len, default=name)


def _part(study: Study, name: str) -> str:
    """What of its row a curve shows: "test" of "XNOR, test"."""
    return name[len(_owner(study, name)) :].removeprefix(", ") or "loss"
