"""Quantities as a person writes them ("64kB", "2%", "30 µJ"), and the same in the unit of a column."""

from __future__ import annotations

import re

from gecko_jax.reports.text import PREFIXES

BINARY = {"KiB": 1024.0, "MiB": 1024.0**2, "GiB": 1024.0**3}
PERCENT = 0.01
# A comma only between thousands: "64,5" is 64.5 to some and 645 to others, and is refused.
_QUANTITY = re.compile(r"([-+]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|inf)\s*([^\d\s.,]*)")


def scale(unit: str) -> tuple[float, str]:
    """Returns how many of its base unit a unit is, and the base unit.

    >>> scale("kB"), scale("KiB"), scale("%"), scale(""), scale("s")
    ((1000.0, 'B'), (1024.0, 'B'), (0.01, ''), (1.0, ''), (1.0, 's'))
    """
    if unit == "%":
        return PERCENT, ""
    if unit in BINARY:
        return BINARY[unit], "B"
    for size, prefix in PREFIXES:
        if prefix and len(unit) > 1 and unit[0] in (prefix, *("u" * (prefix == "µ"))):
            return size, unit[1:]
    return 1.0, unit


def highest_rate(unit: str) -> float:
    """Returns the rate 1 in a unit.

    >>> highest_rate("%"), highest_rate("")
    (100.0, 1.0)
    """
    return 1 / scale(unit)[0]


def quantity(name: str, value: float | str, unit: str) -> float:
    """Returns a quantity in a column's unit.

    A bare number counts bytes if the unit is one of bytes, and is a share of 1 if the unit is %. For other units it
    would be ambiguous and is refused.

    Args:
      name: of the argument, for messages.
      value: a number, or text such as "64kB", "2%", "0.02".
      unit: the column's.

    Raises:
      ValueError: text that is not a quantity, another kind of unit, a share above 1, or a number without its unit.

    >>> quantity("max_bytes", "64kB", "kB"), quantity("max_bytes", 64000, "kB"), quantity("max_tpr", ".02", "%")
    (64.0, 64.0, 2.0)
    >>> quantity("min_accuracy", 90, "%")
    Traceback (most recent call last):
    ValueError: min_accuracy=90 must be a share of at most 1, such as 0.9, or have a percent sign: 90%.
    """
    match = _QUANTITY.fullmatch(str(value).strip())
    if isinstance(value, bool) or match is None:
        raise ValueError(f"{name}={value!r} must be a number, with or without a unit: {_example(unit)}.")
    number, written = float(match[1].replace(",", "")), match[2]
    size, base = scale(unit)
    if not written and unit == "%" and not 0 <= number <= 1:
        raise ValueError(
            f"{name}={value} must be a share of at most 1, such as {number / 100:g}, or have a percent sign: "
            f"{number:g}%."
        )
    if not written and base not in ("", "B"):
        raise ValueError(f"{name}={value} needs a unit, such as {number:g}{unit}.")
    written_size, written_base = scale(written) if written else (1.0, base)
    if written_base != base:
        raise ValueError(f"{name}={value} is in {written!r}; expected {_example(unit)}.")
    return float(f"{number * written_size / size:.12g}")  # .29 in % is 29, not 28.999999999999996


def _example(unit: str) -> str:
    examples = {"%": "0.02 or 2%", "": "0.5", "B": "64000, 64kB or 64KiB"}
    base = scale(unit)[1]
    return examples.get(unit) or examples.get(base) or f"3{unit}"
