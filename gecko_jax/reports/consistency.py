"""Checks of the parts of a study when it is built; what is made from it needs none."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence

from gecko_jax import checks
from gecko_jax.types import Estimate

KINDS = ("measured", "counted", "modeled")


def check_unique(what: str, names: Sequence[str]) -> None:
    """Raises ValueError if a name occurs twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{what} hold {twice[0]!r} more than once; each needs a name of its own.")


def check_same_length(name: str, parts: Mapping[str, Sequence]) -> None:
    """Raises ValueError unless all parts have one length, above 0."""
    lengths = {key: len(part) for key, part in parts.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        raise ValueError(f"{name!r} has parts of lengths {lengths}; they must be equal and above 0.")


def check_estimate(where: str, estimate: Estimate, unit: str, whose: str) -> None:
    """Raises ValueError unless an Estimate has Python numbers, a known kind, both ends or none, and the expected unit.

    Args:
      where: what it is of, for the message.
      estimate: the figure.
      unit: that it must be in.
      whose: what has the unit: "column", "chart".
    """
    checks.one_of(f"kind of {where}", estimate.kind, KINDS)
    for end, value in (("value", estimate.value), ("low", estimate.low), ("high", estimate.high)):
        if not isinstance(value, numbers.Real) and (value is not None or end == "value"):
            raise ValueError(f"{where} has {end}={value!r}; it must be a Python number, such as float({end}).")
    if estimate.unit != unit:
        raise ValueError(
            f"{where} is in {estimate.unit!r} and its {whose} in {unit!r}; convert it (`percent` makes a "
            f"percentage of a proportion) or change the {whose}."
        )
    if (estimate.low is None) != (estimate.high is None):
        raise ValueError(f"{where} has only one end of its interval; give both low and high, or neither.")
    if estimate.low is not None and estimate.high is not None and estimate.low > estimate.high:
        raise ValueError(f"{where} has low={estimate.low!r} above high={estimate.high!r}; swap them.")
