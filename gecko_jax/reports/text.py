"""How a figure is written: the terminal's table, the page and the plots share these functions."""

from __future__ import annotations

import math

from gecko_jax.reports.rows import Column, Row, Table
from gecko_jax.types import Estimate

MISSING = "–"
UNRESOLVED = "†"
UNRESOLVED_MEANING = "more records are needed to resolve this figure; it is never marked or compared"
LETTERS = {"measured": "m", "counted": "c", "modeled": "e"}
MEANINGS = {
    "measured": "measured: observed in runs, with a 95 % interval if there is one",
    "counted": "counted: exact, read off the artifact",
    "modeled": "modeled: estimated from counts by a stated cost model, not observed",
}
PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


def number(value: float, digits: int) -> str:
    """Formats a number with thousands separated; one that would round to zero keeps a significant digit.

    >>> number(1199882, 0), number(0.00042, 2), number(-0.5, 1), number(float("inf"), 2)
    ('1,199,882', '4e-04', '-0.5', 'inf')
    """
    if not math.isfinite(value):
        return str(float(value))
    text = f"{value:,.{digits}f}"
    if value != 0 and not any(digit in text for digit in "123456789"):
        return f"{value:.0e}"
    return text


def format_value(estimate: Estimate, digits: int) -> str:
    """Formats an Estimate's value. If its interval holds 0 it may round to zero, because it may be zero.

    >>> format_value(Estimate(0.0003, -0.002, 0.0026), 3), format_value(Estimate(0.0003), 3)
    ('0.000', '3e-04')
    """
    value, low, high = estimate[:3]
    nothing = round(value, digits) == 0 and low is not None and high is not None and low <= 0 <= high
    return f"{0:.{digits}f}" if nothing else number(estimate.value, digits)


def short(value: float, unit: str) -> str:
    """Formats a value with three significant digits and a prefix of its unit, for a label.

    >>> short(4799528, "B"), short(0.00002, "J"), short(57.46, "%"), short(0, "B")
    ('4.8 MB', '20 µJ', '57.5 %', '0 B')
    >>> short(4799.5, "kB"), short(0.2, "µJ")  # a unit that has a prefix keeps one
    ('4.8 MB', '200 nJ')
    """
    for scale, prefix in PREFIXES:
        if prefix and len(unit) > 1 and unit[0] == prefix:
            value, unit = value * scale, unit[1:]
            break
    if unit == "%" or value == 0 or not math.isfinite(value):
        return f"{value:.3g} {unit}".strip()
    scale, prefix = next(((s, p) for s, p in PREFIXES if abs(value) >= s), PREFIXES[-1])
    return f"{value / scale:.3g} {prefix}{unit}".strip()


def interval(estimate: Estimate, digits: int) -> str:
    """Formats a 95 % interval: half its width if it is even about the figure, otherwise both ends; "" without one.

    An interval counts as even if its two sides differ by less than half of the last digit shown and by a tenth of
    their length. A one-sided interval never does: 0.00 ± 15.40 would claim rates below 0.

    >>> interval(Estimate(0.5, 0.4, 0.6), 2), interval(Estimate(0.0, 0.0, 30.8), 1), interval(Estimate(0.5), 2)
    ('± 0.10', '[0.0, 30.8]', '')
    """
    value, low, high = estimate[:3]
    if low is None or high is None:
        return ""
    below, above = value - low, high - value
    slack = max(1e-9 * (high - low), min(0.5 * 10.0**-digits, 0.1 * max(below, above)))
    even = abs(below - above) <= slack and (min(below, above) > 0 or low == high == value)
    return f"± {number((high - low) / 2, digits)}" if even else f"[{number(low, digits)}, {number(high, digits)}]"


def interval_meanings(table: Table) -> list[str]:
    """Returns what the signs around figures mean, for those signs that the table shows."""
    digits = {column.key: column.digits for column in table.columns}
    shown = {interval(figure, digits[key])[:1] for row in table.rows for key, figure in row.figures.items()}
    lines = ["± half the width of the 95 % interval"] if "±" in shown else []
    lines += ["[low, high] the 95 % interval, if it is not even about the figure"] if "[" in shown else []
    lines += [f"{UNRESOLVED} {UNRESOLVED_MEANING}"] if any(row.unresolved for row in table.rows) else []
    return lines + (["[ ] around one number: as published"] if any(row.published for row in table.rows) else [])


def common_kind(table: Table, column: Column) -> str | None:
    """Returns the kind that all figures of a column share, or None: each figure is then marked by itself."""
    kinds = {row.figures[column.key].kind for row in table.rows if column.key in row.figures}
    return kinds.pop() if len(kinds) == 1 else None


def explained(row: Row, column: Column) -> str:
    """Returns all that is known of one figure, for a tooltip."""
    parts = []
    estimate = row.figures.get(column.key)
    if estimate is not None:
        unit = f" {column.unit}" if column.unit else ""
        parts.append(f"{estimate.kind}: {estimate.value:.6g}{unit}")
        if estimate.low is not None:
            parts.append(f"95 % interval {estimate.low:.6g} to {estimate.high:.6g}")
        if estimate.n is not None:
            parts.append(f"n = {estimate.n:,}")
    if row.published and column.key in row.published:
        parts.append(f"published {row.published[column.key]:.6g}")
    return "; ".join(parts) or "no figure"


def heading(column: Column) -> str:
    """Returns a column's heading with its unit: "Test accuracy, %"."""
    return f"{column.heading}, {column.unit}" if column.unit else column.heading


def place_of(table: Table, name: str) -> int:
    """Returns a row's position, which decides its color everywhere; other names follow the last row."""
    names = [row.name for row in table.rows]
    return names.index(name) if name in names else len(names)


def in_sentence(text: str) -> str:
    """Returns a heading as it stands inside a sentence: without its capital, unless its first word has others.

    >>> [in_sentence(heading) for heading in ("Test accuracy", "ECE", "LiRA AUC", "Attack AUC")]
    ['test accuracy', 'ECE', 'LiRA AUC', 'attack AUC']
    """
    first = text.split(" ")[0]
    return text if first[1:] != first[1:].lower() else text[:1].lower() + text[1:]
