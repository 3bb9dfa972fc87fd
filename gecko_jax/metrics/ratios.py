"""A ratio of sums over independent groups of rows, such as documents or authors, with its interval."""

from __future__ import annotations

import numpy as np
from scipy import special

from gecko_jax import checks
from gecko_jax.types import Array, Estimate


def ratio_interval(sums: Array, units: Array, confidence: float = 0.95) -> Estimate:
    """Returns sum_g L_g / sum_g T_g over G independent groups, with Student's t interval of the linearized ratio.

      r +- t(G - 1) s,   s^2 = G / (G - 1) sum_g (L_g - r T_g)^2 / (sum_g T_g)^2

    Rows of one group resemble each other, so that the sample is of groups. If all groups have the same ratio, s is 0
    and says nothing: whoever knows the ratio's range widens it (see `audit.attribute_inference`).

    Args:
      sums: [G] the total of each group.
      units: [G] what it is divided by, such as the number of rows; at least 0.
      confidence: of the interval.

    Returns:
      An Estimate, its n the number of groups; without an interval if there is one group, or the ratio is infinite.

    Raises:
      ValueError: other shapes, no group, NaN, units that are below 0, infinite or all 0, or confidence outside (0, 1).

    Source: Cochran, "Sampling Techniques" (1977), chapter 6.

    >>> estimate = ratio_interval([1.0, 4.0], [1, 2], confidence=0.5)  # t(1) at 75 % is 1
    >>> [round(figure, 4) for figure in estimate[:3]]  # 5/3 -+ sqrt(2 * 2 * (2/3)^2) / 3
    [1.6667, 1.2222, 2.1111]
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence={confidence!r} must lie strictly between 0 and 1, for example 0.95.")
    sums = checks.not_empty("sums", checks.shape("sums", np.asarray(sums, np.float64), (None,)))
    units = checks.finite("units", checks.shape("units", np.asarray(units, np.float64), sums.shape))
    if np.isnan(sums).any():
        raise ValueError(f"sums is NaN at index {int(np.isnan(sums).argmax())}; a mean of it says nothing.")
    if units.min() < 0 or not units.any():
        raise ValueError(f"units run from {units.min()} to {units.max()}; expected at least 0, and one above it.")
    ratio, groups = float(sums.sum() / units.sum()), len(sums)
    if groups == 1 or not np.isfinite(ratio):
        return Estimate(ratio, n=groups)
    error = np.sqrt(groups / (groups - 1) * ((sums - ratio * units) ** 2).sum()) / units.sum()
    half = float(special.stdtrit(groups - 1, (1.0 + confidence) / 2.0) * error)
    return Estimate(ratio, ratio - half, ratio + half, n=groups)
