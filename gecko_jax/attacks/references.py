"""What reference models say of a record, on the average."""

from __future__ import annotations

import numpy as np

SMALL = 0.5  # losses up to here keep their last digits as 1 - p, larger ones as p


def log_mean_chance(loss: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """log of the mean of p = exp(-loss) over the chosen models, [n]; over all where none is chosen.

    Args:
      loss: [m, n] cross-entropies, m >= 1.
      chosen: [m, n] bool.
    """
    chosen = np.where(chosen.any(0), chosen, True)
    count = chosen.sum(0)
    least = np.where(chosen, loss, np.inf).min(0)
    with np.errstate(invalid="ignore"):  # inf - inf, where no model gives the record any chance
        shares = np.where(chosen, np.exp(-(loss - least)), 0.0).sum(0) / count
        large = np.log(shares) - least
    # Near p = 1 the difference from 1 is what ranks records.
    small = np.log1p(np.where(chosen & (loss <= SMALL), np.expm1(-np.minimum(loss, SMALL)), 0.0).sum(0) / count)
    highest = np.where(chosen, loss, -np.inf).max(0)
    return np.where(highest <= SMALL, small, np.where(np.isinf(least), -np.inf, large))


def mean_over(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Mean of values [m, n] over the chosen models, [n]; over all where none is chosen."""
    chosen = np.where(chosen.any(0), chosen, True)
    return np.where(chosen, values, 0.0).sum(0) / chosen.sum(0)
