"""What a study can show beside its table: one kind of exhibit a file, listed in one table.

An exhibit is plain data (a NamedTuple of strings, numbers, and sequences and records of them) with a `name` and two
methods: `check(table)` refuses what cannot be shown, `draw(table, prefix)` returns what stands on the page. The record
on disk is written and read back from the fields' types. To add a kind: one file with the noun, and one line in
`EXHIBITS`; the checks, the page, the record and the contract test go over that table.
"""

from __future__ import annotations

from collections.abc import Sequence

from gecko_jax.reports.consistency import check_unique
from gecko_jax.reports.exhibits.cost_breakdowns import Breakdown, CostBreakdowns
from gecko_jax.reports.exhibits.dot_plot import DotPlot
from gecko_jax.reports.exhibits.exhibit import Drawing, Exhibit
from gecko_jax.reports.exhibits.histograms import Histogram, Histograms
from gecko_jax.reports.exhibits.image_grid import ImageGrid, is_image_batch
from gecko_jax.reports.exhibits.reliability_diagrams import Reliability, ReliabilityDiagrams
from gecko_jax.reports.exhibits.roc_curves import RocCurves
from gecko_jax.reports.exhibits.text_table import TextTable
from gecko_jax.reports.exhibits.tradeoff import Tradeoff
from gecko_jax.reports.exhibits.training_curves import TrainingCurves
from gecko_jax.reports.rows import Table

EXHIBITS: dict[str, type] = {
    "tradeoff": Tradeoff,
    "roc_curves": RocCurves,
    "dot_plot": DotPlot,
    "histograms": Histograms,
    "image_grid": ImageGrid,
    "text_table": TextTable,
    "reliability_diagrams": ReliabilityDiagrams,
    "training_curves": TrainingCurves,
    "cost_breakdowns": CostBreakdowns,
}

__all__ = [
    "EXHIBITS",
    "Breakdown",
    "CostBreakdowns",
    "DotPlot",
    "Drawing",
    "Exhibit",
    "Histogram",
    "Histograms",
    "ImageGrid",
    "Reliability",
    "ReliabilityDiagrams",
    "RocCurves",
    "TextTable",
    "Tradeoff",
    "TrainingCurves",
    "check_exhibits",
    "is_image_batch",
    "kind_of",
]


def kind_of(exhibit: Exhibit) -> str:
    """Returns the name under which an exhibit's kind is listed in `EXHIBITS`.

    Raises:
      TypeError: if it is not of a listed kind.

    >>> kind_of(TextTable("Colors", ("name",), (("red",),)))
    'text_table'
    """
    for kind, noun in EXHIBITS.items():
        if type(exhibit) is noun:
            return kind
    names = ", ".join(noun.__name__ for noun in EXHIBITS.values())
    raise TypeError(
        f"exhibit {exhibit!r} is a {type(exhibit).__name__}; expected one of {names}, or a kind that is added to "
        "reports.exhibits.EXHIBITS."
    )


def check_exhibits(exhibits: Sequence[Exhibit], table: Table) -> None:
    """Raises TypeError or ValueError, naming the exhibit, if one is of no listed kind or cannot be shown."""
    kinds = [kind_of(exhibit) for exhibit in exhibits]
    for kind in dict.fromkeys(kinds):
        names = [exhibit.name for exhibit, other in zip(exhibits, kinds, strict=True) if other == kind]
        check_unique(f"exhibits of the kind {kind!r}", names)
    for exhibit in exhibits:
        exhibit.check(table)
