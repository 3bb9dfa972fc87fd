"""Arrays -> `Dataset`: the one place where rows, labels and ids are checked; every loader ends here."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.datasets.hashing import check_ids, ranks
from gecko_jax.types import Dataset, Examples


def _inputs(name: str, x: np.ndarray) -> np.ndarray:
    x = np.asarray(x)
    if x.ndim < 2:
        raise ValueError(f"{name} has shape {x.shape}; expected [n, ...] with a features axis: use x[:, None] for one.")
    if x.dtype.kind not in "biuf":
        raise ValueError(f"{name} has dtype {x.dtype}; expected real numbers.")
    checks.not_empty(name, x)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is reported as such
        return checks.finite(name, np.ascontiguousarray(x, np.float32))


def _labels(name: str, y: np.ndarray, rows: int) -> np.ndarray:
    y = np.asarray(y)
    if y.ndim != 1:
        raise ValueError(f"{name} has shape {y.shape}; expected [n] class numbers: use .argmax(-1) on one-hot rows.")
    if y.dtype.kind not in "biu":
        raise ValueError(f"{name} has dtype {y.dtype}; expected integers, the class numbers from 0.")
    if len(y) != rows:
        raise ValueError(f"{name} has {len(y)} labels for {rows} rows of x; each row needs exactly one.")
    return y.astype(np.int64)


def dataset(
    name: str,
    train_x: np.ndarray,
    train_y: np.ndarray,
    test_x: np.ndarray,
    test_y: np.ndarray,
    num_classes: int | None = None,
    ids: np.ndarray | None = None,
) -> Dataset:
    """A checked `Dataset` of one's own arrays.

    Args:
      name: what reports call it.
      train_x: inputs [n, ...], real and finite; stored as float32 and not rescaled (images are best in 0..1).
      train_y: labels [n], integers in 0..num_classes-1.
      test_x: inputs [t, ...] of the same trailing shape.
      test_y: labels [t].
      num_classes: number of classes, at least 2; the largest label + 1 if None.
      ids: integers [n + t], unique, first those of the training rows; 0..n+t-1 if None. Membership is keyed by them.

    Returns:
      A Dataset of host arrays: x float32, y int32, id int64.

    Raises:
      ValueError: for an empty split, shapes that do not fit, entries that are not finite, labels out of range, or
        duplicated ids.

    Example:
      >>> data = dataset("mine", np.ones((3, 2)), np.array([0, 1, 1]), np.zeros((1, 2)), np.array([0]))
      >>> data.num_classes, data.train.x.shape, data.test.id
      (2, (3, 2), array([3]))
    """
    train_x, test_x = _inputs("train_x", train_x), _inputs("test_x", test_x)
    if train_x.shape[1:] != test_x.shape[1:]:
        raise ValueError(f"train_x has rows of shape {train_x.shape[1:]}, test_x of {test_x.shape[1:]}; need the same.")
    train_y, test_y = _labels("train_y", train_y, len(train_x)), _labels("test_y", test_y, len(test_x))
    if num_classes is None:
        num_classes = int(max(train_y.max(), test_y.max())) + 1
    checks.at_least("num_classes", num_classes, 2)
    for split, y in (("train_y", train_y), ("test_y", test_y)):
        bad = np.flatnonzero((y < 0) | (y >= num_classes))
        if len(bad):
            row = bad[0]
            raise ValueError(f"{split}[{row}]={y[row]} must lie in 0..{num_classes - 1}; {len(bad)} rows do not.")
    n = len(train_x)
    ids = check_ids(np.arange(n + len(test_x)) if ids is None else ids)
    if len(ids) != n + len(test_x):
        raise ValueError(f"ids has {len(ids)} entries; expected {n} training + {len(test_x)} test rows.")
    train = Examples(train_x, train_y.astype(np.int32), ids[:n])
    return Dataset(name, train, Examples(test_x, test_y.astype(np.int32), ids[n:]), int(num_classes))


def split_by_id(name: str, x: np.ndarray, y: np.ndarray, ids: np.ndarray, tests: int, num_classes: int) -> Dataset:
    """A `Dataset` out of rows that come without a split: the `tests` ids of the lowest hashes are the test set.

    The split is a function of the name and the ids alone: no seed moves it, and it is the same everywhere.
    """
    ids = check_ids(ids)
    if not 1 <= tests < len(ids):
        raise ValueError(f"{name} has {len(ids)} rows, too few for {tests} test rows and at least one training row.")
    test = ranks(ids, 0, "split", name) < tests
    ordered = np.concatenate([ids[~test], ids[test]])
    return dataset(name, x[~test], y[~test], x[test], y[test], num_classes, ordered)
