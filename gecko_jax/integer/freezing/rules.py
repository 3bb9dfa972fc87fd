"""When a bit is +1: a threshold on a sum, followed back exactly through BatchNorm, ReLU and pools in rational numbers.

  a x + b >= t   if x >= (t - b) / a for a > 0, and if x <= (t - b) / a for a < 0

so that on an integer sum of unit s it is sum >= ceil(t / s): no rounding takes place before the last step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from gecko_jax.integer.fixed_point import MAX_INT32

ALWAYS, NEVER = -math.inf, math.inf


class Rule(NamedTuple):
    """The bit of one channel: direction * x >= direction * threshold, or > if strict.

    Attributes:
      direction: +1 or -1.
      threshold: a Fraction; with direction 1, ALWAYS or NEVER.
      strict: whether equality is not enough.
    """

    direction: int
    threshold: Any
    strict: bool


def before_affine(rules: Iterable[Rule], scale: np.ndarray, shift: np.ndarray) -> list[Rule]:
    """Returns the rules on x of rules on scale * x + shift.

    Args:
      rules: one for each channel.
      scale, shift: [channels] or [1].
    """
    rules = list(rules)
    a, b = (np.broadcast_to(each, len(rules)) for each in (scale, shift))
    return [_before_affine(rule, Fraction(float(a[c])), Fraction(float(b[c]))) for c, rule in enumerate(rules)]


def _before_affine(rule: Rule, a: Fraction, b: Fraction) -> Rule:
    if _decided(rule):
        return rule
    if a == 0:
        return _outcome(rule, b)
    threshold = (rule.threshold - b) / a
    return Rule(rule.direction if a > 0 else -rule.direction, threshold, rule.strict)


def before_clamp(rules: Iterable[Rule], low: float, high: float) -> list[Rule]:
    """Returns the rules on x of rules on min(max(x, low), high).

    Args:
      rules: one for each channel.
      low, high: the bounds, which may be infinite.
    """
    return [_before_clamp(rule, low, high) for rule in rules]


def _before_clamp(rule: Rule, low: float, high: float) -> Rule:
    ends = [_outcome(rule, end) for end in (low, high)]
    return ends[0] if not _decided(rule) and ends[0] == ends[1] else rule


def _outcome(rule: Rule, value: Any) -> Rule:
    """Returns the rule of a bit that is what `rule` makes of one value."""
    x, threshold = rule.direction * value, rule.direction * rule.threshold
    return Rule(1, ALWAYS if x > threshold or (x == threshold and not rule.strict) else NEVER, False)


def _decided(rule: Rule) -> bool:
    return isinstance(rule.threshold, float)


def opposite(rule: Rule) -> Rule:
    """Returns the rule of the other bit: -1 where `rule` says +1."""
    if _decided(rule):
        return rule._replace(threshold=-rule.threshold)
    return Rule(-rule.direction, rule.threshold, not rule.strict)


def on_integers(rules: Iterable[Rule], units: Iterable[float]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rules on integers n, whose numbers are unit * n, as sign * n >= threshold.

    Args:
      rules: one for each channel.
      units: above 0, of each channel.

    Returns:
      (signs, thresholds), int32 [channels].
    """
    signs, thresholds = [], []
    for rule, unit in zip(rules, units, strict=True):
        signs.append(rule.direction)
        if _decided(rule):
            thresholds.append(-MAX_INT32 - 1 if rule.threshold == ALWAYS else MAX_INT32)
            continue
        bound = rule.direction * rule.threshold / Fraction(float(unit))
        least = math.floor(bound) + 1 if rule.strict else math.ceil(bound)
        thresholds.append(min(max(least, -MAX_INT32 - 1), MAX_INT32))
    return np.array(signs, np.int32), np.array(thresholds, np.int32)
