"""ROC curves on logarithmic axes, with bands and the line of guessing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.reports import svg
from gecko_jax.reports.curves import DASHES, MAX_CURVES_PER_PANEL, Curve, Panels, Pen, draw_panels, pen, spread
from gecko_jax.reports.exhibits.exhibit import Drawing
from gecko_jax.reports.rows import Table


class RocCurves(NamedTuple):
    """ROC curves: x the false-positive rate, y the true-positive rate, both in 0..1.

    They are drawn as steps: between two of its points a detector has the lower one's rate of true positives, not the
    rate that a slanted line would give it. The ceiling holds at every point and is a smooth line.

    Attributes:
      name: its heading.
      curves: one for each detector.
      ceiling: a curve that no other can exceed if a guarantee holds, drawn into every panel, or None.
      max_curves_per_panel: 1 to 8; more curves get further panels.
      note: how to read it, or "".
    """

    name: str
    curves: Sequence[Curve]
    ceiling: Curve | None = None
    max_curves_per_panel: int = MAX_CURVES_PER_PANEL
    note: str = ""

    def check(self, table: Table) -> None:
        """Raises ValueError for curves whose parts do not fit together, or no curve."""
        del table
        checks.not_empty(f"curves of {self.name!r}", self.curves)
        for curve in (*self.curves, *([self.ceiling] if self.ceiling else [])):
            curve.check()
        checks.integer("max_curves_per_panel", self.max_curves_per_panel, 1)
        checks.in_range("max_curves_per_panel", self.max_curves_per_panel, 1, MAX_CURVES_PER_PANEL)

    def draw(self, table: Table, prefix: str) -> Drawing:
        """Returns the curves in panels."""
        x = np.concatenate([np.asarray(curve.x, float) for curve in self.curves])
        lowest = 10 ** np.floor(np.log10(np.clip(x[x > 0].min(initial=0.1), 1e-6, 0.1)) + 1e-9)

        def prepare(axes):
            axes.set(xscale="log", yscale="log", xlim=(lowest, 1), ylim=(lowest, 1))
            axes.plot([lowest, 1], [lowest, 1], color=svg.INK, linewidth=1, linestyle=(0, (3, 3)), zorder=1)

        style = Panels(self.name, "False-positive rate", "True-positive rate", 300, prepare)
        above = [(self.ceiling, Pen(svg.INK, DASHES[0], lowest))] if self.ceiling else []
        groups = spread(self.curves, self.max_curves_per_panel)
        panels = [[(curve, pen(table, curve, i, lowest)) for i, curve in enumerate(group)] + above for group in groups]
        return Drawing(self.name, draw_panels(panels, style, prefix), self._caption())

    def _caption(self) -> str:
        parts = ["Both axes are logarithmic. The dashed diagonal is guessing.", self.note]
        if any(curve.low is not None for curve in self.curves):
            parts.append("Bands are 95 % intervals.")
        if self.ceiling:
            parts.append(f"No curve can exceed the solid line, {self.ceiling.name}.")
        return " ".join(filter(None, parts))
