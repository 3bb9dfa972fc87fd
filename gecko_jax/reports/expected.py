"""A table of expected figures beside an experiment: row, metric, value, tolerance."""

from __future__ import annotations

import csv
import math
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from gecko_jax import checks
from gecko_jax.reports.rows import Row

HEADER = ["row", "metric", "value", "tolerance"]


class Difference(NamedTuple):
    """A figure that is not as expected: `actual` is None where the study has no such figure."""

    row: str
    metric: str
    expected: float
    tolerance: float
    actual: float | None

    def __str__(self):
        wanted = f"{self.row} / {self.metric}: expected {self.expected:g} ± {self.tolerance:g}"
        return f"{wanted}, and there is no such figure" if self.actual is None else f"{wanted}, got {self.actual:g}"


def compare_expected(rows: Sequence[Row], csv_path: str | os.PathLike[str]) -> list[Difference]:
    """Figures that are not there or not as expected: |actual - expected| > tolerance.

    Figures that the file does not list are not compared. A NaN is as expected only where nothing is: never.

    Args:
      rows: of a study.
      csv_path: a CSV file with the header row,metric,value,tolerance; the tolerance is absolute, in the figure's unit.

    Returns:
      The differences, in the file's order: [] if all is as expected.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: naming file and line, for a wrong header, a field that is no number, a figure listed twice, a negative
        tolerance, or a file without figures (which would find everything as expected).
    """
    path = pathlib.Path(csv_path)
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if header != HEADER:
            raise ValueError(f"{path} begins with {','.join(header)!r}; expected the header {','.join(HEADER)!r}.")
        expected = {}
        for fields in filter(None, reader):
            where = f"{path}, line {reader.line_num}"
            if len(fields) != len(HEADER):
                raise ValueError(f"{where}: {len(fields)} fields, expected {len(HEADER)}.")
            row, metric, value, tolerance = fields
            if (row, metric) in expected:
                raise ValueError(f"{where}: {row} / {metric} stands there already; list each figure once.")
            try:
                expected[row, metric] = float(value), float(tolerance)
            except ValueError as error:
                raise ValueError(f"{where}: {error}; value and tolerance must be numbers.") from error
            checks.in_range(f"tolerance in {where}", expected[row, metric][1], 0, float("inf"))
    checks.not_empty(f"{path}", expected)
    figures = {(row.name, metric): figure.value for row in rows for metric, figure in row.figures.items()}
    compared = [Difference(*key, *pair, figures.get(key)) for key, pair in expected.items()]
    return [difference for difference in compared if not _as_expected(difference)]


def _as_expected(difference: Difference) -> bool:
    if difference.actual is None:
        return False
    if math.isinf(difference.expected):  # the difference of infinities is NaN
        return difference.actual == difference.expected
    return abs(difference.actual - difference.expected) <= difference.tolerance
