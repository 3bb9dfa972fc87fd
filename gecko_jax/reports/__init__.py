"""Reports: a study as a record on disk, a table in the terminal, plots, and one self-contained HTML page.

    study = Study(title, summary, rows, columns, ...)         # plain data, checked once
    print(table(study))
    study = write_record(folder, study)                       # record.json and results.csv, each whole or not at all
    write_html(folder / "report.html", study)
    assert not compare_expected(study.rows, "expected.csv")

Everything here is a function of plain records. Matplotlib is imported only when something is drawn.
"""

from gecko_jax.reports.environment import environment
from gecko_jax.reports.exhibits import Dots, Listing, Pictures
from gecko_jax.reports.expected import Difference, compare_expected
from gecko_jax.reports.images import are_pictures
from gecko_jax.reports.page import html, write_html
from gecko_jax.reports.pareto import front, pareto
from gecko_jax.reports.record import read_record, write_record
from gecko_jax.reports.study import Column, Curve, Histogram, Reliability, Row, Study, percent
from gecko_jax.reports.terminal import table

__all__ = [
    "Column",
    "Curve",
    "Difference",
    "Dots",
    "Histogram",
    "Listing",
    "Pictures",
    "Reliability",
    "Row",
    "Study",
    "are_pictures",
    "compare_expected",
    "environment",
    "front",
    "html",
    "pareto",
    "percent",
    "read_record",
    "table",
    "write_html",
    "write_record",
]
