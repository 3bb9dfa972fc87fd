"""Which rows no other row beats: the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gecko_jax import checks
from gecko_jax.reports.rows import Table


def pareto(points: np.ndarray, better: Sequence[str]) -> np.ndarray:
    """Tells which points are on the Pareto front.

    A point is off the front if another one is at least as good in every column and better in one; equal points are on
    it together. In descending lexicographic order, whatever beats a point comes before it, and so does a point of the
    front that beats it. One pass against the front so far is therefore enough.

    Args:
      points: [n, d], infinities allowed.
      better: d times "high" or "low".

    Returns:
      Bool [n].

    Raises:
      ValueError: for NaN, for points that are not [n, d], or for a word other than these two.

    >>> pareto([[90, 60], [80, 50], [80, 55]], ["high", "low"]).tolist()
    [True, True, False]
    """
    for word in better:
        checks.one_of("better", word, ("high", "low"))
    points = np.asarray(points, dtype=float)
    if points.size == 0:
        return np.zeros(len(points), dtype=bool)
    checks.shape("points", points, (None, len(better)))
    if np.isnan(points).any():
        raise ValueError(f"points[{int(np.argwhere(np.isnan(points))[0][0])}] holds a NaN; leave such points out.")
    signed = points * np.where(np.asarray(better) == "high", 1.0, -1.0)
    mask = np.zeros(len(points), dtype=bool)
    for index in np.lexsort(-signed.T[::-1]):
        front = signed[mask]
        beaten = (front >= signed[index]).all(axis=1) & (front > signed[index]).any(axis=1)
        mask[index] = not beaten.any()
    return mask


def front_rows(table: Table, keys: Sequence[str]) -> frozenset[str]:
    """Returns the names of the rows on the Pareto front of some columns; one without a resolved figure in each is not.

    Args:
      table: rows and columns.
      keys: of columns, each with a better end.
    """
    better = [next(str(column.better) for column in table.columns if column.key == key) for key in keys]
    rows = [row for row in table.rows if all(key in row.figures and key not in row.unresolved for key in keys)]
    points = {row.name: [row.figures[key].value for key in keys] for row in rows}
    points = {name: values for name, values in points.items() if not any(map(math.isnan, values))}
    mask = pareto(np.array(list(points.values())), better)
    return frozenset(name for name, on in zip(points, mask, strict=True) if on)
