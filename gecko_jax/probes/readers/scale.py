"""Units of a table's features: dollars beside years.

What is added to a record, and how far it is from a boundary, is measured in each feature's own standard deviation.
Images have one unit for all of their values.
"""

from __future__ import annotations

import numpy as np


def spread(x: np.ndarray) -> np.ndarray:
    """Returns the standard deviation of each feature of x [k, ...], 0 for one that is constant; 1 for all if all are.

    >>> spread(np.array([[1.0, 1000.0], [3.0, 5000.0]])).tolist()
    [1.0, 2000.0]
    """
    deviation = np.std(x, axis=0, dtype=np.float64)
    return deviation if deviation.any() else np.ones_like(deviation)


def center_and_step(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns each feature's mean and a power of two near its deviation, of x [k, ...], float32.

    Multiplying by the power of two that is nearest to the standard deviation rounds nothing; it is 1 for a constant
    feature.

    >>> [part.tolist() for part in center_and_step(np.array([[1.0, 1000.0], [3.0, 5000.0]]))]
    [[2.0, 3000.0], [1.0, 2048.0]]
    """
    deviation = spread(x)
    step = 2.0 ** np.rint(np.log2(np.where(deviation > 0, deviation, 1.0)))
    return np.asarray(np.mean(x, axis=0, dtype=np.float64), np.float32), step.astype(np.float32)


def bounds(reference: np.ndarray, x: np.ndarray) -> tuple[float, float]:
    """Returns the smallest and the largest value of two arrays, at most 0 and at least 1.

    >>> bounds(np.array([0.5]), np.array([3.0]))
    (0.0, 3.0)
    """
    values = np.array([[part.min(), part.max()] for part in (reference, x)], np.float64)
    return min(0.0, float(values[:, 0].min())), max(1.0, float(values[:, 1].max()))
