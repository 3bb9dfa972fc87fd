"""Quantile regression: how far a record's hinge lies above what non-members like it have, without shadow models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gecko_jax import extras, keys, signals
from gecko_jax.attacks.attack import Attack
from gecko_jax.attacks.moments import bounded
from gecko_jax.types import Signals

MAX_ROWS = 50_000  # that the regressions are fitted on
MIN_SQUARE_SHARE = 1e-6  # of the residuals' mean square: if non-members agree, the deviation is not 0
TREES = {"max_iter": 50, "learning_rate": 0.1, "max_leaf_nodes": 8, "early_stopping": False, "random_state": 0}


def quantile_regression() -> Attack:
    """Scores (h - mu(x)) / sigma(x) of the hinge h: its place in a normal distribution predicted from the record x.

    A threshold t calls a member what lies above the quantile Phi(t) of non-members with x's features, for all rates of
    false positives at once. mu is fitted by squares and log sigma^2 by the normal likelihood of residuals (a gamma
    regression of their squares), each by gradient-boosted trees; residuals are of records that their mu has not seen.

    It is fitted on `Signals.population`, of which the target's own values [z, 1 + d] are read, without any shadows; if
    there is none, on the shadows' values on records that each has not seen, which is slow.

    Returns:
      An Attack on `signals.hinge_on_record`: the hinge, and behind it the features of the record. Calling it raises a
      ValueError if there are fewer than two values of non-members to fit on.

    Source: Bertran et al., "Scalable Membership Inference Attacks via Quantile Regression" (2023), sec. 3, in the
    Gaussian form of its sec. 4.

    >>> quantile_regression().with_population().needs
    ('population', 'records')
    """

    def score(read: Signals) -> np.ndarray:
        outside = read.values[~read.member] if read.population is None else read.population[1]
        if len(outside) < 2:
            raise ValueError(
                f"quantile_regression has {len(outside)} values of non-members to fit on; pass population=, records "
                "that the target was not trained on, or shadows that have not seen every record."
            )
        hinge, of_target = bounded(Signals(outside[:, 0], read.member, read.target[:, 0]))
        return _standardized(outside[:, 1:], hinge, read.target[:, 1:], of_target)

    name = "quantile_regression"
    return Attack(name, signals.hinge_on_record, score, shadows=1, slow=True, population_suffices=True)


def _standardized(x: np.ndarray, hinge: np.ndarray, of_target: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Returns (target - mu) / sigma [n] at the target's x [n, d], fitted on x [k, d], rows in any order."""
    extras.require("sklearn", "attacks.quantile_regression")
    import sklearn.ensemble  # noqa: F401  before the limit, which holds for what is loaded
    from threadpoolctl import threadpool_limits

    record = np.unique(x, axis=0, return_inverse=True)[1].reshape(-1)
    rows = np.lexsort((hinge, record))
    if len(rows) > MAX_ROWS:
        rows = rows[np.sort(keys.generator(0, "quantile regression").permutation(len(rows))[:MAX_ROWS])]
    x, hinge, record = x[rows], hinge[rows], record[rows]
    # Threads that wait for each other on a busy machine take many times as long.
    with threadpool_limits(1):
        mean = _trees(x, hinge)
        fitted, odd = mean(x), record % 2 == 1  # all values of a record on one side
        if odd.any():
            fitted[odd], fitted[~odd] = _trees(x[~odd], hinge[~odd])(x[odd]), _trees(x[odd], hinge[odd])(x[~odd])
        squared = (hinge - fitted) ** 2
        smallest = MIN_SQUARE_SHARE * squared.mean() + np.finfo(np.float64).tiny
        variance = _trees(x, np.maximum(squared, smallest), "gamma")
        return (target - mean(of_target)) / np.sqrt(variance(of_target))


def _trees(x: np.ndarray, y: np.ndarray, loss: str = "squared_error") -> Callable[[np.ndarray], np.ndarray]:
    """Returns a fitted x [n, d] -> [n]; the mean of y if records have no features."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    if not x.shape[1]:
        return lambda x: np.full(len(x), y.mean())
    return HistGradientBoostingRegressor(loss=loss, **TREES).fit(x, y).predict
