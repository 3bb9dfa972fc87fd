"""Checks of `Report.assert_below`: bounds in a metric's own range, and no verdict on attacks that were not tried."""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np

from gecko_jax import checks
from gecko_jax.audit.report.figures import METRICS

SWITCHES = ("upper", "thresholds_are_enough")


def check_bounds(bounds: Mapping[str, Any]) -> None:
    """Raises ValueError for no bound, an unknown metric (with a suggestion), or a bound outside the metric's range.

    All metrics are fractions of 1: a bound of 5 % is 0.05, and 5 would be passed by every model.
    """
    if not bounds:
        raise ValueError("assert_below needs a bound, for example assert_below(tpr_at_1pct=0.05).")
    for metric, bound in bounds.items():
        if metric not in METRICS and (close := difflib.get_close_matches(metric, SWITCHES, n=1, cutoff=0.8)):
            raise ValueError(f"{metric}={bound!r} is not an argument of assert_below. Did you mean {close[0]!r}?")
        checks.one_of("metric", metric, METRICS)
        if isinstance(bound, (bool, np.bool_)) or not isinstance(bound, numbers.Real):
            raise ValueError(f"{metric}={bound!r} is a {type(bound).__name__}; expected a number, for example 0.05.")
        if not 0 <= float(bound) <= 1:
            percent = f" For {bound:g} %, write {metric}={bound / 100:g}." if 1 < float(bound) <= 100 else ""
            raise ValueError(f"{metric}={bound!r} must be a fraction between 0 and 1.{percent}")


def check_upper(upper: bool) -> None:
    """Raises ValueError unless `upper` is True or False: a number may be meant as a bound."""
    if not isinstance(upper, (bool, np.bool_)):
        raise ValueError(f"upper={upper!r} must be True or False; a bound is told by its metric, for example auc=0.6.")


def check_tried(tried: Mapping[str, tuple[str, ...]], thresholds_are_enough: bool) -> None:
    """Raises ValueError if no attack had shadow models and the caller does not say that thresholds are enough."""
    if not isinstance(thresholds_are_enough, (bool, np.bool_)):
        raise ValueError(f"thresholds_are_enough={thresholds_are_enough!r} must be True or False.")
    if only_thresholds(tried) and not thresholds_are_enough:
        raise ValueError(
            f"assert_below would pass a model that was not attacked with shadow models: {checks.listed(tried)} had "
            "none, and attacks that have them often find several times as much. Audit with shadows (audit(..., "
            "recipe=, pool=, shadows=8, key=0), or audit_models), or say assert_below(..., thresholds_are_enough=True)."
        )


def only_thresholds(tried: Mapping[str, tuple[str, ...]]) -> bool:
    """Returns whether no attack that was tried had shadow models."""
    return not any("shadows" in needs for needs in tried.values())
