"""What an audit and the studies draw of attacks: ROC curves, and signals of members and of non-members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gecko_jax import reports

GROUPS = ("members", "non-members")
ROC_NOTE = (
    "An attack does harm if it is sure of some records, which shows at the left; a curve above the diagonal tells "
    "members from non-members."
)


def roc_curves(curves: Mapping[str, Any], ceiling: reports.Curve | None = None) -> reports.RocCurves:
    """Returns the ROC curves of attacks, with the bands over targets or, of a single target, over records.

    Args:
      curves: name -> a curve of `Report.curves`.
      ceiling: what no attack can exceed if a guarantee holds, or None.
    """
    return reports.RocCurves(
        "ROC curves of the attacks",
        tuple(_curve(name, curve) for name, curve in curves.items()),
        ceiling,
        note=ROC_NOTE,
    )


def signal_histograms(histograms: Mapping[str, Any]) -> reports.Histograms:
    """Returns the histograms of signals or scores on members and on non-members.

    Args:
      histograms: name -> a histogram of a report: its edges, and counts [targets, bins] of both groups.
    """
    return reports.Histograms(
        "What the attacker sees",
        GROUPS,
        tuple(_histogram(name, histogram) for name, histogram in histograms.items()),
        "signal",
        "Membership shows in the bins in which the two outlines differ.",
    )


def _curve(name: str, curve: Any) -> reports.Curve:
    low, high = curve.mean_low, curve.mean_high
    if low is None:
        low, high = curve.tpr_low[0], curve.tpr_high[0]
    return reports.Curve(name, *(part.tolist() for part in (curve.fpr, curve.mean, low, high)))


def _histogram(name: str, histogram: Any) -> reports.Histogram:
    counts = tuple(np.sum(part, 0).tolist() for part in (histogram.members, histogram.nonmembers))
    clipped = histogram.clipped
    note = f"{clipped} records beyond the ends are counted in the outermost bins." if clipped else ""
    return reports.Histogram(name, histogram.edges.tolist(), counts, note)
