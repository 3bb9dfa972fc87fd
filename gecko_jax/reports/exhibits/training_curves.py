"""Training curves: a loss by epoch, in one panel or in a small panel for every row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.reports import svg
from gecko_jax.reports.curves import (
    DASHES,
    MAX_CURVES_PER_PANEL,
    Curve,
    Panels,
    Pen,
    draw_curve,
    draw_multiples,
    draw_panels,
    owner,
    pen,
    spread,
)
from gecko_jax.reports.exhibits.exhibit import Drawing
from gecko_jax.reports.rows import Table


class TrainingCurves(NamedTuple):
    """Curves of a figure over the epochs: all in one panel, or, if rows have several each, a small panel for every row.

    Attributes:
      name: its heading.
      curves: x the epoch; a row's several curves are named "row, part" ("XNOR, test").
      quantity: what is on the y axis.
      note: how to read it, or "".
    """

    name: str
    curves: Sequence[Curve]
    quantity: str = "Loss"
    note: str = ""

    def check(self, table: Table) -> None:
        """Raises ValueError for curves whose parts do not fit together, or no curve."""
        del table
        checks.not_empty(f"curves of {self.name!r}", self.curves)
        for curve in self.curves:
            curve.check()

    def draw(self, table: Table, prefix: str) -> Drawing:
        """Returns one panel of all curves, or small panels."""
        owners = [owner(table, curve.name) for curve in self.curves]
        alone = len(set(owners)) == len(owners)
        drawing = self._together(table, prefix) if alone else self._multiples(owners, prefix)
        bands = any(curve.low is not None for curve in self.curves)
        return Drawing(self.name, drawing, " ".join(filter(None, [self.note, bands * "Bands are 95 % intervals."])))

    def _together(self, table: Table, prefix: str) -> str:
        groups = spread(self.curves, MAX_CURVES_PER_PANEL)
        panels = [[(curve, pen(table, curve, i)) for i, curve in enumerate(group)] for group in groups]
        return draw_panels(panels, Panels(self.name, "Epoch", self.quantity, 240), prefix)

    def _multiples(self, owners: Sequence[str], prefix: str) -> str:
        groups = {name: [c for c, o in zip(self.curves, owners, strict=True) if o == name] for name in owners}
        parts = list(dict.fromkeys(_part(curve, o) for curve, o in zip(self.curves, owners, strict=True)))
        pens = {part: Pen(svg.series(i), DASHES[i % len(DASHES)]) for i, part in enumerate(parts)}
        values = [np.ravel([part for part in (c.y, c.low, c.high) if part is not None]) for c in self.curves]
        ends = _span(np.concatenate(values)), _span(np.concatenate([np.asarray(c.x) for c in self.curves]))

        def draw(axes, name):
            for curve in groups[name]:
                draw_curve(axes, curve, pens[_part(curve, name)])
            axes.set(ylim=ends[0], xlim=ends[1])

        title = f"{self.quantity}, by epoch"
        return draw_multiples(list(groups), draw, list(pens.items()), title, self.name, prefix)


def _part(curve: Curve, name: str) -> str:
    """Returns what of its row a curve shows: "test" of "XNOR, test"."""
    return curve.name[len(name) :].removeprefix(", ") or "loss"


def _span(values: np.ndarray) -> tuple[float, float]:
    values = values.astype(float)[np.isfinite(values)]
    low, high = values.min(initial=np.inf), values.max(initial=-np.inf)
    return (low, high) if low < high else (low - 0.5, low + 0.5) if low == high else (0.0, 1.0)
