"""A study read from where it lies: its folder, or results.csv alone, whose columns are then known by their keys."""

from __future__ import annotations

import os
import pathlib

from gecko_jax import checks
from gecko_jax.reports.consistency import check_estimate
from gecko_jax.reports.csv_tables import csv_lines
from gecko_jax.reports.record import CSV_HEADER, read_record
from gecko_jax.reports.roles import ROLES, role_of
from gecko_jax.reports.rows import Column, Row
from gecko_jax.reports.study import Notes, Study
from gecko_jax.types import Estimate

WORDS = {"auc": "AUC", "tpr": "TPR", "ece": "ECE", "lira": "LiRA", "rmia": "RMIA", "macs": "MACs", "at": "@"}
WORDS |= {"1pct": "1 % FPR", "0p1pct": "0.1 % FPR"}
ALONE = (
    "Read from {name} alone, without a record.json beside it: headings and better ends are guessed from the keys, "
    "figures that are not resolved are not marked, and curves, breakdowns and commands are missing."
)


def read_results(path: str | os.PathLike[str]) -> Study:
    r"""Reads a study from its folder or from its results.csv.

    With a record.json beside the file, the study is that of `read_record`, whose digests are checked. Without one, the
    columns' headings, digits and better ends follow from their keys (see `reports.roles`).

    Args:
      path: the folder that `write_record` wrote, or a CSV file with its header: row,metric,value,low,high,kind,unit,n.

    Returns:
      The study.

    Raises:
      FileNotFoundError: if the file, or the folder's record, is not there.
      ValueError: naming file and line, for another header, a field that is not what the header says, a figure that is
        listed twice, or a metric in two units; and as `read_record` does.

    >>> import tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "results.csv"
    >>> _ = path.write_text("row,metric,value,low,high,kind,unit,n\nfloat,lira_auc,0.5,0.4,0.6,measured,,8\n")
    >>> study = read_results(path)
    >>> study.rows[0].figures["lira_auc"].high, study.columns[0].heading, study.columns[0].better
    (0.6, 'LiRA AUC', 'low')
    """
    path = pathlib.Path(path)
    if path.is_dir():
        return read_record(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; give a study's folder, or its results.csv.")
    if path.name == "results.csv" and (path.parent / "record.json").exists():
        return read_record(path.parent)
    figures = _figures(path)
    rows: dict[str, dict[str, Estimate]] = {}
    for (row, metric), figure in figures.items():
        rows.setdefault(row, {})[metric] = figure
    columns = {metric: _column(metric, figure, figures) for (_, metric), figure in figures.items()}
    return Study(
        title=path.parent.resolve().name or path.name,
        summary="",
        rows=tuple(Row(name, values) for name, values in rows.items()),
        columns=tuple(columns.values()),
        notes=Notes(warnings=(ALONE.format(name=path.name),)),
    )


def _figures(path: pathlib.Path) -> dict[tuple[str, str], Estimate]:
    figures: dict[tuple[str, str], Estimate] = {}
    units: dict[str, str] = {}
    for where, (row, metric, value, low, high, kind, unit, n) in csv_lines(path, CSV_HEADER):
        if (row, metric) in figures:
            raise ValueError(f"{where}: {row} / {metric} stands there already; list each figure once.")
        if units.setdefault(metric, unit) != unit:
            raise ValueError(f"{where}: {metric} is in {unit!r}, and above in {units[metric]!r}; give it one unit.")
        for what, name in (("row", row), ("metric", metric)):
            if not name or name != name.strip():  # " auc" would be another column than "auc", of no known role
                raise ValueError(f"{where}: {what}={name!r} must be a name without spaces around it.")
        try:
            start, end = (float(part) if part else None for part in (low, high))
            figures[row, metric] = Estimate(float(value), start, end, kind, unit, int(n) if n else None)
        except ValueError as error:
            raise ValueError(f"{where}: {error}; value, low and high must be numbers, n an integer.") from error
        checks.integer(f"{where}: n", figures[row, metric].n or 0, 0)
        check_estimate(f"{where}: {metric}", figures[row, metric], unit, "column")
    return checks.not_empty(str(path), figures)


def _column(metric: str, figure: Estimate, figures: dict[tuple[str, str], Estimate]) -> Column:
    """Returns the column that a key and its figures suggest."""
    role = role_of(metric)
    heading = " ".join(WORDS.get(word, word) for word in metric.split("_"))
    counted = all(each.value.is_integer() for (_, other), each in figures.items() if other == metric)
    digits = 0 if counted and figure.kind == "counted" else 3 if figure.unit == "" else 2
    return Column(metric, heading[:1].upper() + heading[1:], figure.unit, digits, role and ROLES[role].better)
