"""Reliability diagrams: how often a model is right, by how sure it is, and how many records say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.metrics import ReliabilityBins
from gecko_jax.reports import svg
from gecko_jax.reports.consistency import check_same_length, check_unique
from gecko_jax.reports.exhibits.exhibit import Drawing
from gecko_jax.reports.rows import Table

MAX_OVERLAID = 3
MARKERS = ("o", "s", "^")
AXES_TITLE = "Accuracy, by confidence"
CAPTION = (
    "How often a model is right, by how sure it is. On the diagonal it is right as often as it says; below, it is "
    "overconfident. Whiskers are 95 % intervals; the small panels count the records."
)


class Reliability(NamedTuple):
    """A model's name, and the fields of its `metrics.ReliabilityBins` as plain sequences.

    The mean confidence and accuracy of an empty bin are 0 here, not NaN.

    >>> from gecko_jax.metrics import reliability_bins
    >>> diagram = Reliability.of("mine", reliability_bins(np.array([[0.75, 0.25], [0.25, 0.75]]), [0, 0], bins=2))
    >>> diagram.count, diagram.accuracy, diagram.bins.accuracy.tolist()  # two records, as sure, one of them right
    ([0, 2], [0.0, 0.5], [0.0, 0.5])
    """

    name: str
    edges: Sequence[float]
    count: Sequence[float]
    confidence: Sequence[float]
    accuracy: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]

    @classmethod
    def of(cls, name: str, bins: ReliabilityBins) -> Reliability:
        """Returns the diagram of `metrics.reliability_bins(probs, labels)`."""
        return cls(name, *(np.nan_to_num(part).tolist() for part in bins))

    @property
    def bins(self) -> ReliabilityBins:
        """The arrays again."""
        return ReliabilityBins(*(np.asarray(part) for part in self[1:]))


class ReliabilityDiagrams(NamedTuple):
    """Reliability diagrams of several models.

    Attributes:
      name: its heading.
      diagrams: of distinct names.
      note: how to read it, beside the usual caption, or "".
    """

    name: str
    diagrams: Sequence[Reliability]
    note: str = ""

    def check(self, table: Table) -> None:
        """Raises ValueError unless names are distinct and each diagram has one number a bin in each part."""
        del table
        checks.not_empty(f"diagrams of {self.name!r}", self.diagrams)
        check_unique(f"diagrams of {self.name!r}", [diagram.name for diagram in self.diagrams])
        for diagram in self.diagrams:
            parts = {key: part for key, part in diagram._asdict().items() if key not in ("name", "edges")}
            check_same_length(diagram.name, {"edges[1:]": diagram.edges[1:], **parts})

    def draw(self, table: Table, prefix: str) -> Drawing:
        """Returns the diagrams: up to three share a panel."""
        del table
        drawing = reliability_diagram({diagram.name: diagram.bins for diagram in self.diagrams}, prefix)
        return Drawing(self.name, drawing, f"{CAPTION} {self.note}".strip())


def reliability_diagram(models: Mapping[str, ReliabilityBins], name: str = "plot-reliability") -> str:
    """Draws accuracy in bins of confidence, with 95 % intervals, above the number of records in each bin.

    A calibrated model's marks, each at its bin's mean confidence, lie on the diagonal; below, it is overconfident.
    One model is drawn as bars; of two or three in one panel only the bars' tops are drawn; more get a panel each.

    Args:
      models: name -> `metrics.reliability_bins(probs, labels)`, in the order in which they are drawn.
      name: the prefix of the SVG's ids.

    Returns:
      SVG text (see `svg` for its colors); each model's expected calibration error stands beside its name.

    Raises:
      ValueError: without a model, or for one whose bins hold no record.

    Source: DeGroot and Fienberg (1983); Niculescu-Mizil and Caruana, "Predicting Good Probabilities" (2005).
    """
    checks.at_least("number of models", len(models), 1)
    for each, bins in models.items():
        checks.at_least(f"number of records of {each!r}", int(np.sum(bins.count)), 1)
    fig = _together(models) if len(models) <= MAX_OVERLAID else _multiples(models)
    return svg.finish(fig, name, "Reliability diagram")


def _together(models: Mapping[str, ReliabilityBins]) -> Any:
    tall, low, head = 260, 60, 24
    fig = svg.figure(head + tall + 40 + low + 46 + 18 * len(models))
    svg.write(fig, 0, 13, AXES_TITLE)
    left, wide = 44, svg.WIDTH - 54
    axes = svg.place(fig, left, head, wide, tall)
    below = svg.place(fig, left, head + tall + 40, wide, low)
    svg.write(fig, 0, head + tall + 30, "Records")
    below.set_xlabel("Confidence", fontsize=svg.TEXT)
    for i, (each, bins) in enumerate(models.items()):
        _draw(axes, below, bins, i, filled=len(models) == 1)
        y, error = head + tall + 40 + low + 56 + 18 * i, f", {error_text(bins)}"
        svg.key(fig, 4, y, svg.cut(each, svg.WIDTH - 40 - svg.text_width(error)) + error, svg.series(i), "-")
        _mark(fig, 16, y - 4, i)
    _finish(axes, below, models.values(), 5)
    return fig


def _multiples(models: Mapping[str, ReliabilityBins]) -> Any:
    tall, low, gap, head = 130, 30, 22, 42
    wide = (svg.WIDTH - 44 - gap - 8) / 2
    rows, step = -(-len(models) // 2), tall + low + 76
    fig = svg.figure(head + rows * step - 24)
    svg.write(fig, 0, 13, f"{AXES_TITLE}; below, records")
    for i, (each, bins) in enumerate(models.items()):
        x, y = 44 + (i % 2) * (wide + gap), head + 16 + (i // 2) * step
        axes, below = svg.place(fig, x, y, wide, tall), svg.place(fig, x, y + tall + 10, wide, low)
        _draw(axes, below, bins, i, filled=True)
        _finish(axes, below, models.values(), 3)
        if i % 2:
            axes.tick_params(labelleft=False)
            below.tick_params(labelleft=False)
        svg.write(fig, x, y - 20, svg.cut(each, 0.88 * wide), fontweight="bold")  # bold letters are wider
        svg.write(fig, x, y - 6, error_text(bins))
    return fig


def _draw(axes: Any, below: Any, bins: ReliabilityBins, index: int, filled: bool) -> None:
    """One model's bars, or only their tops; its marks with whiskers; its records."""
    full, color = bins.count > 0, svg.series(index)
    inset = 0.06 * np.diff(bins.edges)  # so that bars of one height are seen to be several
    left, right = (bins.edges[:-1] + inset)[full], (bins.edges[1:] - inset)[full]
    x, y = bins.confidence[full], bins.accuracy[full]
    if filled:
        axes.bar(left, y, right - left, align="edge", color=color, alpha=0.3, linewidth=0, zorder=2)
        below.stairs(bins.count, bins.edges, baseline=0, fill=True, color=color, alpha=0.3, linewidth=0)
    axes.hlines(y, left, right, color=color, linewidth=1.4, zorder=3)
    below.stairs(bins.count, bins.edges, baseline=None, color=color, linewidth=1.4)
    ends = [np.maximum(y - bins.low[full], 0), np.maximum(bins.high[full] - y, 0)]
    axes.errorbar(x, y, yerr=ends, fmt="none", ecolor=color, elinewidth=1.2, zorder=4)
    mark = {"marker": MARKERS[index % len(MARKERS)], "s": 20 if filled else 26}
    axes.scatter(x, y, color=color, linewidth=0, zorder=5, clip_on=False, **mark)


def _finish(axes: Any, below: Any, every: Any, ticks: int) -> None:
    axes.plot([0, 1], [0, 1], color=svg.INK, linewidth=1, linestyle=(0, (3, 3)), zorder=3)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.tick_params(labelbottom=False)
    below.set(xlim=(0, 1), ylim=(0, 1.08 * max(bins.count.max() for bins in every)))
    for each in (axes, below):
        each.locator_params(axis="x", nbins=ticks)
        svg.plain_ticks(each)
    axes.locator_params(axis="y", nbins=ticks)
    below.locator_params(axis="y", nbins=2)


def _mark(fig: Any, left: float, top: float, index: int) -> None:
    from matplotlib.lines import Line2D

    width, height = fig.get_size_inches() * 72
    style = {"marker": MARKERS[index], "markersize": 5, "linewidth": 0, "markeredgewidth": 0}
    fig.add_artist(Line2D([left / width], [1 - top / height], color=svg.series(index), **style))


def error_text(bins: ReliabilityBins) -> str:
    """Returns the expected calibration error of bins, in words."""
    full = bins.count > 0
    gap = np.abs(bins.accuracy[full] - bins.confidence[full]) @ bins.count[full] / bins.count.sum()
    return f"ECE {100 * gap:.1f} %"
