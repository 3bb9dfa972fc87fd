"""A table of expected figures beside an experiment: row, metric, value, tolerance; made from a run, and compared.

docs/expected_tables.md says how tolerances come about.
"""

from __future__ import annotations

import csv
import io
import math
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from gecko_jax import checks
from gecko_jax.reports.csv_tables import csv_lines
from gecko_jax.reports.rows import Row, half_width
from gecko_jax.types import Estimate

HEADER = ["row", "metric", "value", "tolerance"]


HALF_WIDTHS = 2.0  # of a figure's 95 % interval
MODELED_SHARE, UNCERTAIN_SHARE, ROUNDING_SHARE = 0.005, 0.1, 1e-9  # of the figure's value


class Difference(NamedTuple):
    """A figure that is not as expected: `actual` is None if the study has no such figure."""

    row: str
    metric: str
    expected: float
    tolerance: float
    actual: float | None

    def __str__(self):
        wanted = f"{self.row} / {self.metric}: expected {self.expected:g} ± {self.tolerance:g}"
        return f"{wanted}, and the figure is missing" if self.actual is None else f"{wanted}, got {self.actual:g}"


def compare_expected(rows: Sequence[Row], csv_path: str | os.PathLike[str]) -> list[Difference]:
    """Returns the figures that are missing or differ by more than the tolerance: |actual - expected| > tolerance.

    Figures that the file does not list are not compared. A NaN is never as expected.

    Args:
      rows: of a study.
      csv_path: a CSV file with the header row,metric,value,tolerance; the tolerance is absolute, in the figure's unit.

    Returns:
      The differences, in the file's order: [] if all is as expected.

    Raises:
      FileNotFoundError: if the file does not exist.
      ValueError: naming file and line, for a wrong header, a field that is not a number, a figure listed twice, a
        negative tolerance, or a file without figures (with which every run would agree).

    >>> import tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "expected.csv"
    >>> _ = path.write_text(expected_csv([Row("a", {"auc": Estimate(0.5)})]))
    >>> print(*compare_expected([Row("a", {"auc": Estimate(0.75)})], path))
    a / auc: expected 0.5 ± 0.05, got 0.75
    """
    path = pathlib.Path(csv_path)
    expected: dict[tuple[str, str], tuple[float, float]] = {}
    for where, (row, metric, value, tolerance) in csv_lines(path, HEADER):
        if (row, metric) in expected:
            raise ValueError(f"{where}: {row} / {metric} stands there already; list each figure once.")
        try:
            expected[row, metric] = float(value), float(tolerance)
        except ValueError as error:
            raise ValueError(f"{where}: {error}; value and tolerance must be numbers.") from error
        checks.in_range(f"tolerance in {where}", expected[row, metric][1], 0, float("inf"))
    checks.not_empty(f"{path}", expected)
    figures = {(row.name, metric): figure.value for row in rows for metric, figure in row.figures.items()}
    compared = [Difference(row, metric, *pair, figures.get((row, metric))) for (row, metric), pair in expected.items()]
    return [difference for difference in compared if not _as_expected(difference)]


def expected_csv(rows: Sequence[Row]) -> str:
    """Returns the table that holds a run's figures as the expected ones, for `compare_expected`.

    Args:
      rows: of a study that was run to its end. Figures that are NaN are left out.

    Returns:
      CSV text. A counted figure has no tolerance but rounding, a modeled one 0.5 % of its value. A measured one has
      twice the half-width of its 95 % interval (10 % of its value without one), and at least `floor`.

    >>> print(expected_csv([Row("a", {"auc": Estimate(0.75, 0.5, 1.0), "bytes": Estimate(8, kind="counted")})]), end="")
    row,metric,value,tolerance
    a,auc,0.75,0.5
    a,bytes,8,8e-09
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for row in rows:
        for metric, figure in row.figures.items():
            if not math.isnan(figure.value):
                writer.writerow([row.name, metric, f"{figure.value:.12g}", f"{tolerance(figure):.3g}"])
    return text.getvalue()


def tolerance(figure: Estimate) -> float:
    """Returns how far a figure of another run of the same program may lie from this one, in its unit.

    >>> tolerance(Estimate(90.0, 89.8, 90.2, unit="%")), tolerance(Estimate(float("inf"), kind="modeled"))
    (1.0, 0.0)
    """
    if not math.isfinite(figure.value):
        return 0.0
    size = abs(figure.value)
    if figure.kind != "measured":
        return size * (ROUNDING_SHARE if figure.kind == "counted" else MODELED_SHARE)
    half = half_width(figure)
    return max(UNCERTAIN_SHARE * size if half is None else HALF_WIDTHS * half, floor(figure))


def floor(figure: Estimate) -> float:
    """Returns the least tolerance of a measured figure: one of 100 %, or 0.01 of a pure number."""
    return {"%": 1.0, "": 0.01}.get(figure.unit, ROUNDING_SHARE * abs(figure.value))


def _as_expected(difference: Difference) -> bool:
    if difference.actual is None:
        return False
    if math.isinf(difference.expected):  # the difference of infinities is NaN
        return difference.actual == difference.expected
    return abs(difference.actual - difference.expected) <= difference.tolerance
