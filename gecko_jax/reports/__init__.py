"""Reports: a study as a record on disk, a table in the terminal, plots, and one self-contained HTML page.

    study = Study(title, summary, rows, columns, exhibits=(Tradeoff("acc", "auc"),))     # plain data, checked once
    print(table(study))
    study = write_record(folder, study)                       # record.json and results.csv, each whole or not at all
    write_html(folder / "report.html", study)
    assert not compare_expected(study.rows, "expected.csv")

Everything here is a function of plain records. Matplotlib is imported only when something is drawn. A new chart is one
file in `exhibits/` and one line in its table.
"""

from gecko_jax.reports.curves import Curve
from gecko_jax.reports.environment import environment
from gecko_jax.reports.exhibits import (
    Breakdown,
    CostBreakdowns,
    DotPlot,
    Histogram,
    Histograms,
    ImageGrid,
    Reliability,
    ReliabilityDiagrams,
    RocCurves,
    TextTable,
    Tradeoff,
    TrainingCurves,
    is_image_batch,
)
from gecko_jax.reports.expected import Difference, compare_expected, expected_csv
from gecko_jax.reports.page import explorer_html, html, write_html
from gecko_jax.reports.pareto import pareto
from gecko_jax.reports.recommendation import Recommendation, recommend
from gecko_jax.reports.record import check_record, read_record, write_record
from gecko_jax.reports.results import read_results
from gecko_jax.reports.rows import Column, Row, percent
from gecko_jax.reports.study import Notes, Study, front
from gecko_jax.reports.terminal import table

__all__ = [
    "Breakdown",
    "Column",
    "CostBreakdowns",
    "Curve",
    "Difference",
    "DotPlot",
    "Histogram",
    "Histograms",
    "ImageGrid",
    "Notes",
    "Recommendation",
    "Reliability",
    "ReliabilityDiagrams",
    "RocCurves",
    "Row",
    "Study",
    "TextTable",
    "Tradeoff",
    "TrainingCurves",
    "check_record",
    "compare_expected",
    "environment",
    "expected_csv",
    "explorer_html",
    "front",
    "html",
    "is_image_batch",
    "pareto",
    "percent",
    "read_record",
    "read_results",
    "recommend",
    "table",
    "write_html",
    "write_record",
]
