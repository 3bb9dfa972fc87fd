"""What the explorer's page holds of a study, in JSON's own types; all figures are formatted here, as in the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gecko_jax.reports.curves import Curve, owner
from gecko_jax.reports.exhibits import CostBreakdowns, ReliabilityDiagrams, RocCurves
from gecko_jax.reports.exhibits.reliability_diagrams import error_text
from gecko_jax.reports.roles import RATES, ROLES, better_end, columns_of, role_of
from gecko_jax.reports.rows import Column, Row
from gecko_jax.reports.study import Study
from gecko_jax.reports.text import (
    LETTERS,
    UNRESOLVED_MEANING,
    format_value,
    interval,
    interval_meanings,
    number,
    short,
)
from gecko_jax.reports.units import highest_rate, scale

DEVICES = (
    ("64 kB flash, 20 kB RAM", {"flash": 64_000, "ram": 20_000}),
    ("256 kB flash, 64 kB RAM", {"flash": 256_000, "ram": 64_000}),
    ("1 MB flash, 256 kB RAM", {"flash": 1_000_000, "ram": 256_000}),
)
MAX_SHOWN = 7  # columns of the table before anybody chose any


def explorer_data(study: Study) -> dict[str, Any]:
    """Returns the study as the explorer's script reads it.

    Args:
      study: any. Curves are a row's if they are named as the row or "row, part"; a row's command comes from the row,
        or the study's from its record ("command").
    """
    budgets = [_budget(study, name) for name in ROLES if columns_of(study, name)]
    axes = _axes(study)
    chosen = [*axes, *(budget["keys"][0] for budget in budgets)]
    return {
        "columns": [_column(column) for column in _filled(study)],
        "rows": [_row(study, row) for row in study.rows],
        "axes": axes,
        "shown": list(dict.fromkeys(key for key in chosen if key))[:MAX_SHOWN],
        "budgets": budgets,
        "devices": [{"name": name, "bytes": sizes} for name, sizes in DEVICES],
        "unresolved": UNRESOLVED_MEANING,
        "letters": LETTERS,
        "legend": interval_meanings(study),
        "command": study.record.get("command") or "",
        "curves": _curves(study),
        "reliability": {
            diagram.name: diagram._asdict() | {"error": error_text(diagram.bins)}
            for exhibit in study.exhibits
            if isinstance(exhibit, ReliabilityDiagrams)
            for diagram in exhibit.diagrams
        },
        "costs": _costs(study),
    }


def _filled(study: Study) -> list[Column]:
    """Returns the columns that some row has a figure for."""
    return [column for column in study.columns if any(column.key in row.figures for row in study.rows)]


def _axes(study: Study) -> list[str]:
    """Returns two or three keys: the trade-off's, or else of a leak, of the accuracy and of the bytes."""
    if study.tradeoff is not None:
        return list(study.tradeoff.keys)
    keys = [columns_of(study, name)[0].key for name in ("leak", "accuracy", "flash") if columns_of(study, name)]
    others = [column.key for column in _filled(study) if column.key not in keys]
    return (keys + others)[:3] if len(keys + others) > 1 else (keys + others) * 2


def _budget(study: Study, name: str) -> dict[str, Any]:
    sense = "low" if ROLES[name].better == "low" else "high"
    return {"role": name, "label": ROLES[name].label, "sense": sense, "keys": [c.key for c in columns_of(study, name)]}


def _column(column: Column) -> dict[str, Any]:
    size, base = scale(column.unit)
    bytes_per_unit = size if base == "B" else None
    texts = {"key": column.key, "heading": column.heading, "unit": column.unit}
    role = role_of(column.key)
    highest = highest_rate(column.unit) if role in RATES else None
    return texts | {"better": better_end(column), "role": role, "scale": bytes_per_unit, "highest": highest}


def _row(study: Study, row: Row) -> dict[str, Any]:
    digits = {column.key: column.digits for column in study.columns}
    published = {key: number(value, digits[key]) for key, value in (row.published or {}).items()}
    figures = {
        key: (
            *figure[:3],
            format_value(figure, digits[key]),
            interval(figure, digits[key]),
            figure.kind,
            figure.n,
            published.get(key),
            key in row.unresolved,
        )
        for key, figure in row.figures.items()
    }
    return {"name": row.name, "group": row.group, "note": row.note, "command": row.command, "figures": figures}


def _curves(study: Study) -> dict[str, list[dict[str, Any]]]:
    names, curves = {row.name for row in study.rows}, {}
    for exhibit in study.exhibits:
        if isinstance(exhibit, RocCurves):
            for curve in exhibit.curves:
                if (row := owner(study, curve.name)) in names:
                    label = curve.name[len(row) + 2 :] or exhibit.name
                    curves.setdefault(row, []).append(_curve(curve)._replace(name=label)._asdict())
    return curves


def _curve(curve: Curve) -> Curve:
    """Returns a curve of four significant digits, without the points at which nothing changes."""
    parts = [_rounded(part) for part in curve[1:] if part is not None]
    ends = np.array(parts[1:])
    changes = np.any(ends[:, 1:] != ends[:, :-1], axis=0)
    chosen = np.concatenate([[True], changes[:-1], [True]]) if len(changes) else np.array([True])
    parts = [part[chosen].tolist() for part in map(np.array, parts)]
    return Curve(curve.name, *parts)


def _rounded(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in values]


def _costs(study: Study) -> dict[str, list[dict[str, Any]]]:
    costs: dict[str, list[dict[str, Any]]] = {}
    for exhibit in study.exhibits:
        if isinstance(exhibit, CostBreakdowns):
            for each in exhibit.breakdowns:
                parts = [
                    (part, size, short(size, each.unit)) for part, size in zip(each.parts, each.sizes, strict=True)
                ]
                about = {"heading": each.heading, "kind": each.kind, "total": short(each.total, each.unit)}
                costs.setdefault(each.name, []).append(about | {"parts": parts})
    return costs
