"""Penalties on the inputs of activations that leave a range: functions of one example's values z and of a power.

  name       formula                                              source
  extremes   max(max z - R, 0) + max(-R - min z, 0)               range-aware ReLU (Baruch et al. 2023)
  outside    mean max(|z| - R, 0)                                 L1 outside of the range
  pillar     mean |z / R|^p                                       PILLAR (Diaa et al. 2024)

`models.with_range_penalty` adds one to the loss of a model. A polynomial that fits a function on [-R, R] explodes
outside: the penalty is what keeps the values inside in training. A new one: a function here and a line in PENALTIES.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from gecko_jax import checks
from gecko_jax.types import Array


class RangePenalty(NamedTuple):
    """A penalty on the values z of one example at one activation.

    Attributes:
      name: as listed in PENALTIES.
      bound: R, in the units of z.
      power: p where training starts; None for a penalty that has none.
      apply: (z of any shape, p or None) -> scalar, 0 or above.
    """

    name: str
    bound: float
    power: float | None
    apply: Callable[[Array, Array | float | None], Array]


def extremes(bound: float = 10.0) -> RangePenalty:
    """Builds max(max z - R, 0) + max(-R - min z, 0): how far an example's largest and smallest value are outside.

    Args:
      bound: R > 0.

    Raises:
      ValueError: a bound that is not above 0.

    >>> float(extremes(2.0).apply(jnp.array([-5.0, 1.0, 2.5]), None))
    3.5
    """
    r = _bound(bound)

    def apply(z, power):
        del power
        return jnp.maximum(jnp.max(z) - r, 0) + jnp.maximum(-r - jnp.min(z), 0)

    return RangePenalty("extremes", r, None, apply)


def outside(bound: float = 10.0) -> RangePenalty:
    """Builds mean max(|z| - R, 0), the mean distance to the range.

    Args:
      bound: R > 0.

    Raises:
      ValueError: a bound that is not above 0.

    >>> float(outside(2.0).apply(jnp.array([-5.0, 1.0, 2.0, 3.0]), None))
    1.0
    """
    r = _bound(bound)

    def apply(z, power):
        del power
        return jnp.mean(jnp.maximum(jnp.abs(z) - r, 0))

    return RangePenalty("outside", r, None, apply)


def pillar(bound: float = 4.8, power: float = 10.0) -> RangePenalty:
    """Builds mean |z / R|^p, which is small inside of the range and steep outside.

    PILLAR raises p from 4 to 10 over the first 4 epochs: of 50, schedules={"penalty_power": training.linear(0, 4 / 50,
    4, 10)}.

    Args:
      bound: R > 0.
      power: p > 1, if no schedule sets it.

    Raises:
      ValueError: a bound that is not above 0, or a power that is not above 1, whose slope has no limit at z = 0.

    Source: Diaa et al., "Fast and Private Inference of Deep Neural Networks by Co-designing Activation Functions", 2024
    (arXiv 2306.08538).

    >>> round(float(pillar(2.0, power=4.0).apply(jnp.array([-4.0, 0.0]), 4.0)), 4)
    8.0
    """
    r = _bound(bound)
    if checks.positive("power", power) <= 1:
        raise ValueError(f"power={power!r} must be above 1, such as 10.")

    def apply(z, power):
        return jnp.mean((jnp.abs(z) / r) ** power)

    return RangePenalty("pillar", r, float(power), apply)


PENALTIES = {"extremes": extremes, "outside": outside, "pillar": pillar}


def _bound(bound: float) -> float:
    return float(checks.positive("bound", bound))
