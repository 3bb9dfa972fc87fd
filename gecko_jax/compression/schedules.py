"""What changes during compression: functions of the share of the run that is done, as `training.fit` takes them."""

from __future__ import annotations

import math
from collections.abc import Callable

from gecko_jax import checks


def cubic(start: float, end: float, first: float = 0.0, last: float = 0.9) -> Callable[[float], float]:
    """Builds the sparsity schedule of gradual pruning, which removes many weights early and few at the end.

      s(t) = last + (first - last) (1 - (t - start) / (end - start))^3    for start <= t <= end

    Args:
      start, end: shares of the run, 0 <= start < end <= 1; after `end` the network trains with its last sparsity.
      first, last: shares of the weights that are removed before and after, 0 to below 1.

    Returns:
      A function of the share of the run, for fit(pruned(model), schedules={"pruning": cubic(0.1, 0.75)}).

    Raises:
      ValueError: shares out of order or of range.

    Source: Zhu & Gupta, "To prune, or not to prune", 2017 (arXiv 1710.01878), equation 1.

    >>> [round(cubic(0.0, 0.5, 0.0, 0.8)(share), 3) for share in (0.0, 0.125, 0.25, 0.5, 0.9)]
    [0.0, 0.463, 0.7, 0.8, 0.8]
    """
    if not 0 <= start < end <= 1:
        raise ValueError(f"start={start!r} and end={end!r} must satisfy 0 <= start < end <= 1: shares of the run.")
    for name, value in (("first", first), ("last", last)):
        if not 0 <= checks.at_least(name, value, 0) < 1:
            raise ValueError(f"{name}={value!r} must be at least 0 and below 1: the share of weights to remove.")

    def at(share: float) -> float:
        left = 1 - min(max((share - start) / (end - start), 0.0), 1.0)
        return last + (first - last) * left**3

    return at


def cosine_drop(drop: float = 0.3, end: float = 0.75) -> Callable[[float], float]:
    """Builds the schedule of the share of weights that move in dynamic sparse training.

      f(t) = drop / 2 (1 + cos(pi t / end)) until `end`, and 0 after it

    Args:
      drop: share of each layer's weights that move at first, 0 to 1.
      end: share of the run after which none moves, above 0 to 1.

    Returns:
      A function of the share of the run, for fit(dynamic_sparse(model), schedules={"drop": cosine_drop()}).

    Raises:
      ValueError: numbers out of range.

    Source: Evci et al., "Rigging the lottery", ICML 2020 (arXiv 1911.11134), section 3.

    >>> [round(cosine_drop(0.3, 0.8)(share), 3) for share in (0.0, 0.4, 0.8, 0.9)]
    [0.3, 0.15, 0.0, 0.0]
    """
    checks.in_range("drop", drop, 0, 1)
    checks.in_range("end", checks.positive("end", end), 0, 1)

    def at(share: float) -> float:
        return 0.5 * drop * (1 + math.cos(math.pi * share / end)) if share < end else 0.0

    return at
