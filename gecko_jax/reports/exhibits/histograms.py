"""Histograms of one quantity in two groups, a small panel for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.reports import svg
from gecko_jax.reports.consistency import check_same_length, check_unique
from gecko_jax.reports.curves import DASHES, Pen, draw_multiples
from gecko_jax.reports.exhibits.exhibit import Drawing
from gecko_jax.reports.rows import Table


class Histogram(NamedTuple):
    """Counts of both groups in the bins between `edges`.

    Attributes:
      name: heads its panel.
      edges: one more than there are bins.
      counts: of the first group, and of the second, each with one number a bin.
      note: a sentence about it, or "".
    """

    name: str
    edges: Sequence[float]
    counts: Sequence[Sequence[float]]
    note: str = ""


class Histograms(NamedTuple):
    """Histograms that share their groups and their vertical axis.

    Attributes:
      name: its heading.
      groups: names of the two groups.
      histograms: of distinct names.
      quantity: what is counted, as it stands in a sentence.
      note: how to read it, or "".
    """

    name: str
    groups: Sequence[str]
    histograms: Sequence[Histogram]
    quantity: str = "value"
    note: str = ""

    def check(self, table: Table) -> None:
        """Raises ValueError unless there are two groups, and each histogram has a name and counts for both."""
        del table
        checks.shape(f"groups of {self.name!r}", self.groups, (2,))
        check_unique(f"groups of {self.name!r}", list(self.groups))
        checks.not_empty(f"histograms of {self.name!r}", self.histograms)
        check_unique(f"histograms of {self.name!r}", [histogram.name for histogram in self.histograms])
        for name, edges, counts, _ in self.histograms:
            check_same_length(name, {"groups": self.groups, "counts": counts})
            check_same_length(name, {"edges[1:]": edges[1:], **dict(zip(self.groups, counts, strict=True))})

    def draw(self, table: Table, prefix: str) -> Drawing:
        """Returns the shares of each group, a small panel for every histogram."""
        del table
        shares = {histogram.name: (histogram.edges, *map(_shares, histogram.counts)) for histogram in self.histograms}
        values = np.concatenate([np.concatenate(pair) for _, *pair in shares.values()])
        ends = (values[values > 0].min(initial=0.1) * 0.7, min(values.max(initial=0.1) * 1.6, 1.3))
        pens = [Pen(svg.series(i), DASHES[i]) for i in range(2)]

        def draw(axes, name):
            edges, *pair = shares[name]
            bottom = ends[0] / 10  # an empty bin, on a logarithmic axis
            first, second = (np.where(part > 0, part, bottom) for part in pair)
            axes.stairs(first, edges, baseline=bottom, fill=True, color=pens[0].color, alpha=0.3, linewidth=0)
            axes.stairs(first, edges, baseline=None, color=pens[0].color, linewidth=1.5)
            axes.stairs(second, edges, baseline=None, color=pens[1].color, linewidth=1.5, linestyle=pens[1].dash)
            axes.set(yscale="log", ylim=ends, xlim=(edges[0], edges[-1]))

        title, keys = f"Share of each, by {self.quantity}", list(zip(self.groups, pens, strict=True))
        drawing = draw_multiples(list(shares), draw, keys, title, self.name, prefix)
        return Drawing(self.name, drawing, self._caption())

    def _caption(self) -> str:
        first, second = self.groups
        noted: dict[str, list[str]] = {}
        for histogram in self.histograms:
            noted.setdefault(histogram.note, []).append(histogram.name)
        notes = [f"{checks.listed(names)}: {note}" for note, names in noted.items() if note]
        return " ".join(
            filter(None, [f"Shares of {first} and of {second}, on a logarithmic scale.", self.note, *notes])
        )


def _shares(counts: Sequence[float]) -> np.ndarray:
    return np.asarray(counts, float) / max(np.sum(counts), 1)
