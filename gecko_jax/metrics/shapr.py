"""SHAPr: how much each training record matters to the predictions on the test records, and so how exposed it is."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.types import Array

MAX_DISTANCES = 2**20  # held in memory at a time


def shapr(train_outputs: Array, train_y: Array, test_outputs: Array, test_y: Array, neighbors: int = 1) -> np.ndarray:
    """Returns the Shapley values of the training records in a K-nearest-neighbor classifier on the model's outputs.

    For each test point (., y), with the N training records ranked 1..N from near to far and w_i = min(K, i) / (K i):
    s_N = 1[y_N = y] w_N, s_i = s_{i+1} + (1[y_i = y] - 1[y_{i+1} = y]) w_i. Records at equal distances share
    the average over their orders. The score is the sum over test points times N / (test points); scores therefore sum
    to N times the classifier's accuracy.

    Args:
      train_outputs: [N, c] outputs (probabilities, or logits) on the training records.
      train_y: [N] integer labels.
      test_outputs: [t, c] outputs on records that were not trained on.
      test_y: [t] integer labels.
      neighbors: K, at least 1.

    Returns:
      Scores [N]: larger = more influential, and more at risk of membership inference.

    Raises:
      ValueError: wrong shapes, no record, an output that is NaN or infinite, labels that are not integers, K < 1.

    Source: Duddu, Szyller and Asokan, "SHAPr" (arXiv 2112.02230); Jia et al., "Efficient Task-Specific Data
    Valuation for Nearest Neighbor Algorithms" (2019), theorem 1.

    >>> shapr([[0.0], [1.0]], [0, 1], [[0.1]], [0]).tolist()
    [2.0, 0.0]
    """
    neighbors = checks.integer("neighbors", neighbors, 1)
    train, train_y = _checked("train", train_outputs, train_y)
    test, test_y = _checked("test", test_outputs, test_y)
    checks.shape("test_outputs", test, (None, train.shape[1]))
    n = len(train)
    ranks = np.arange(1, n + 1)
    weight = np.minimum(neighbors, ranks) / (neighbors * ranks)
    columns = np.ascontiguousarray(train.T)
    total = np.zeros(n)
    rows = max(1, MAX_DISTANCES // n)
    for start in range(0, len(test), rows):
        block = test[start : start + rows]
        # Not |a|^2 + |b|^2 - 2ab, whose rounding separates records of equal outputs.
        distance = np.zeros((len(block), n))
        for ours, theirs in zip(columns, block.T, strict=True):
            distance += (theirs[:, None] - ours[None]) ** 2
        total += _values(distance, train_y[None] == test_y[start : start + rows, None], weight).sum(0)
    return total * n / len(test)


def _values(distance: np.ndarray, right: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Returns Shapley values [t, N] from distances [t, N] and from which records have the test point's label [t, N].

    Unrolled, with b_i = 1[y_i = y]: s_i = b_i w_i + sum_{j > i} b_j (w_j - w_{j-1}). In a group of g equal distances at
    ranks p..q, of which c are right, all orders are equally likely. On average w_i becomes the group's mean weight W,
    b_j the mean b of j's group, or (c - b_i) / (g - 1) if that group is i's own:
    s_i = b_i W + (c - b_i) / (g - 1) (w_q - W) + sum_{j > q} mean b_j (w_j - w_{j-1}).
    """
    t, n = distance.shape
    order = np.argsort(distance, -1, kind="stable")
    ranked = np.take_along_axis(distance, order, -1)
    is_right = np.take_along_axis(right, order, -1).astype(np.float64)
    first = np.ones((t, n), bool)
    first[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    starts = np.flatnonzero(first)
    group = np.cumsum(first.ravel()) - 1  # groups of all rows, numbered through: each row begins with a new one
    size = np.diff(np.append(starts, t * n))[group].reshape(t, n)
    count = np.add.reduceat(is_right.ravel(), starts)[group].reshape(t, n)
    mean_weight = np.add.reduceat(np.tile(weight, t), starts)[group].reshape(t, n) / size
    last = (starts[group] % n).reshape(t, n) + size - 1

    steps = np.zeros((t, n + 1))
    steps[:, 1:n] = count[:, 1:] / size[:, 1:] * np.diff(weight)[None]
    later = np.cumsum(steps[:, ::-1], -1)[:, ::-1]  # [:, q + 1] sums the steps of ranks beyond q, counted from 0
    value = is_right * mean_weight + np.take_along_axis(later, last + 1, -1)
    value += (count - is_right) / np.maximum(size - 1, 1) * (weight[last] - mean_weight)
    result = np.empty_like(value)
    np.put_along_axis(result, order, value, -1)
    return result


def _checked(kind: str, outputs: Array, y: Array) -> tuple[np.ndarray, np.ndarray]:
    outputs = checks.finite(f"{kind}_outputs", np.asarray(outputs, np.float64))
    checks.not_empty(f"{kind}_outputs", checks.shape(f"{kind}_outputs", outputs, (None, None)))
    y = checks.shape(f"{kind}_y", np.asarray(y), outputs.shape[:1])
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"{kind}_y has dtype {y.dtype}; expected class numbers.")
    return outputs, y
