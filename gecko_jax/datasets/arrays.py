"""Arrays -> `Dataset`: the one place where rows, labels and ids are checked; every loader ends here."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.datasets.hashing import check_ids, ranks
from gecko_jax.datasets.hosts import host_array
from gecko_jax.types import Dataset, Examples

MAX_CLASSES = int(np.iinfo(np.int32).max)  # labels are stored as int32
SCALES_APART = 6  # times: one split's largest entry below another's typical one


def _inputs(name: str, x: np.ndarray) -> np.ndarray:
    x = host_array(name, x)
    if x.ndim < 2:
        raise ValueError(f"{name} has shape {x.shape}; expected [n, ...] with a features axis: use x[:, None] for one.")
    if x.dtype.kind not in "biuf":
        raise ValueError(f"{name} has dtype {x.dtype}; expected real numbers, such as {name}.astype(np.float32).")
    checks.not_empty(name, x)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is reported as such
        return checks.finite(name, np.ascontiguousarray(x, np.float32))


def _labels(name: str, y: np.ndarray, rows: int) -> np.ndarray:
    y = host_array(name, y)
    if y.ndim == 2 and y.shape[1] == 1:
        raise ValueError(f"{name} has shape {y.shape}; expected [n] class numbers: use {name}[:, 0].")
    if y.ndim != 1:
        raise ValueError(f"{name} has shape {y.shape}; expected [n] class numbers: use .argmax(-1) on one-hot rows.")
    if y.dtype.kind not in "biu":
        whole = y.dtype.kind == "f" and bool(np.all(np.isfinite(y))) and bool(np.all(y == np.round(y)))
        remedy = f"use {name}.astype(np.int32)" if whole else (
            "number the classes of both splits together, classes, y = np.unique(all_labels, return_inverse=True)"
        )  # fmt: skip
        raise ValueError(f"{name} has dtype {y.dtype}; expected integers, the class numbers from 0: {remedy}.")
    if len(y) != rows:
        raise ValueError(f"{name} has {len(y)} labels for {rows} rows of x; each row needs exactly one.")
    return y  # in its own type: a cast to int64 would wrap the largest of uint64


def _count_classes(train_y: np.ndarray, test_y: np.ndarray) -> int:
    """Returns how many classes the labels number 0, 1, 2, ...; a number that is never used would be an empty class."""
    used = [int(label) for label in np.union1d(np.unique(train_y).astype(object), np.unique(test_y).astype(object))]
    missing = next((i for i, label in enumerate(used) if label != i), None)
    if missing is not None and used[0] >= 0:
        shown = ", ".join(map(str, used[:5])) + (", ..." if len(used) > 5 else "")
        raise ValueError(
            f"train_y and test_y hold {len(used)} different labels ({shown}), yet not {missing}: num_classes would be "
            f"{used[-1] + 1}, with classes that no row has. Number the classes from 0 without a gap (labels, y = "
            f"np.unique(all_labels, return_inverse=True)), or pass num_classes={used[-1] + 1} if they are meant."
        )
    return used[-1] + 1


def _check_same_scale(train_x: np.ndarray, test_x: np.ndarray) -> None:
    """Raises ValueError if all of one split lies far below what is usual in the other (0..1 beside 0..255).

    Rows of one distribution do not: each entry would have to be below a sixth of the median.
    """
    tops = {"train_x": float(np.abs(train_x).max()), "test_x": float(np.abs(test_x).max())}
    small, large = sorted(tops, key=tops.get)
    if not 0 < SCALES_APART * tops[small] <= tops[large]:
        return
    x = train_x if large == "train_x" else test_x
    typical = float(np.median(np.abs(x[x != 0])))
    if SCALES_APART * tops[small] <= typical:
        raise ValueError(
            f"{small} reaches no further than {tops[small]:g}, and {large} has a median of {typical:g} (zeros left "
            "out): one of them is not scaled as the other is. Scale both alike (images / 255), or pass "
            "same_scale=False if they are meant to differ."
        )


def dataset(
    name: str,
    train_x: np.ndarray,
    train_y: np.ndarray,
    test_x: np.ndarray,
    test_y: np.ndarray,
    num_classes: int | None = None,
    ids: np.ndarray | None = None,
    same_scale: bool = True,
) -> Dataset:
    """A checked `Dataset` of one's own arrays.

    Args:
      name: what reports call it.
      train_x: inputs [n, ...], real and finite; stored as float32 and not rescaled (images are best in 0..1).
      train_y: labels [n], integers (or bools) in 0..num_classes-1.
      test_x: inputs [t, ...] of the same trailing shape.
      test_y: labels [t].
      num_classes: number of classes, at least 2. None: as many as there are labels, which must then be 0, 1, 2, ...
        without a gap in the two splits together.
      ids: integers [n + t] of int64's range, unique, first those of the training rows; 0..n+t-1 if None. Membership is
        keyed by them.
      same_scale: whether to refuse splits of which one lies far below the other (0..1 beside 0..255).

    Returns:
      A Dataset of host arrays: x float32, y int32, id int64.

    Raises:
      ValueError: for an empty split, shapes that do not fit, entries that are masked or not finite, splits of unlike
        scale, labels out of range or with a gap, and ids that are duplicated or too large.

    Example:
      >>> data = dataset("mine", np.ones((3, 2)), np.array([0, 1, 1]), np.zeros((1, 2)), np.array([0]))
      >>> data.num_classes, data.train.x.shape, data.test.id
      (2, (3, 2), array([3]))
    """
    train_x, test_x = _inputs("train_x", train_x), _inputs("test_x", test_x)
    if train_x.shape[1:] != test_x.shape[1:]:
        raise ValueError(f"train_x has rows of shape {train_x.shape[1:]}, test_x of {test_x.shape[1:]}; need the same.")
    train_y, test_y = _labels("train_y", train_y, len(train_x)), _labels("test_y", test_y, len(test_x))
    if same_scale:
        _check_same_scale(train_x, test_x)
    if num_classes is None:
        num_classes = _count_classes(train_y, test_y)
    num_classes = checks.whole("num_classes", num_classes, 2)
    if num_classes > MAX_CLASSES:
        raise ValueError(f"num_classes={num_classes} must be at most {MAX_CLASSES}: labels are stored as int32.")
    for split, y in (("train_y", train_y), ("test_y", test_y)):
        bad = np.flatnonzero((y < 0) | (y >= num_classes))
        if len(bad):
            row = bad[0]
            from_one = min(train_y.min(), test_y.min()) == 1 and max(train_y.max(), test_y.max()) == num_classes
            hint = f" Labels that count from 1: pass {split} - 1, of both splits." if from_one else ""
            raise ValueError(f"{split}[{row}]={y[row]} must lie in 0..{num_classes - 1}; {len(bad)} rows do not.{hint}")
    n = len(train_x)
    ids = check_ids(np.arange(n + len(test_x)) if ids is None else ids)
    if len(ids) != n + len(test_x):
        raise ValueError(f"ids has {len(ids)} entries; expected {n} training + {len(test_x)} test rows.")
    train = Examples(train_x, train_y.astype(np.int32), ids[:n])
    return Dataset(name, train, Examples(test_x, test_y.astype(np.int32), ids[n:]), num_classes)


def split_by_id(name: str, x: np.ndarray, y: np.ndarray, ids: np.ndarray, tests: int, num_classes: int) -> Dataset:
    """A `Dataset` out of rows that come without a split: the `tests` ids of the lowest hashes are the test set.

    The split is a function of the name and the ids alone: no seed moves it, and it is the same everywhere.
    """
    ids = check_ids(ids)
    if not 1 <= tests < len(ids):
        raise ValueError(f"{name} has {len(ids)} rows, too few for {tests} test rows and at least one training row.")
    test = ranks(ids, 0, "split", name) < tests
    ordered = np.concatenate([ids[~test], ids[test]])
    return dataset(name, x[~test], y[~test], x[test], y[test], num_classes, ordered, same_scale=False)  # one array's
