"""What reference models say of a record, on average."""

from __future__ import annotations

import numpy as np

MAX_SMALL_LOSS = 0.5  # losses up to here keep their last digits as 1 - p, larger ones as p


def log_mean_chance(loss: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Returns log of the mean of p = exp(-loss) over the chosen models, [n]; over all if none is chosen.

    Args:
      loss: [m, n] negative log-likelihoods, nats, m >= 1.
      chosen: [m, n] bool.

    >>> log_mean_chance(np.array([[1.0], [1.0]]), np.ones((2, 1), bool)).tolist()
    [-1.0]
    """
    chosen = np.where(chosen.any(0), chosen, True)
    count = chosen.sum(0)
    smallest = np.where(chosen, loss, np.inf).min(0)
    with np.errstate(invalid="ignore"):  # inf - inf, if no model gives the record any chance
        # Another model's loss may lie so far below the smallest that exp overflows: it is not computed.
        shares = np.exp(smallest - loss, where=chosen, out=np.zeros(loss.shape)).sum(0) / count
        large = np.log(shares) - smallest
    # Near p = 1 the difference from 1 is what ranks records.
    terms = np.expm1(-loss, where=chosen & (loss <= MAX_SMALL_LOSS), out=np.zeros(loss.shape))
    small = np.log1p(terms.sum(0) / count)
    highest = np.where(chosen, loss, -np.inf).max(0)
    return np.where(highest <= MAX_SMALL_LOSS, small, np.where(np.isinf(smallest), -np.inf, large))


def mean_over(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Returns the mean of values [m, n] over the chosen models, [n]; over all if none is chosen.

    >>> mean_over(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[True, False], [True, False]])).tolist()
    [2.0, 3.0]
    """
    chosen = np.where(chosen.any(0), chosen, True)
    return np.where(chosen, values, 0.0).sum(0) / chosen.sum(0)
