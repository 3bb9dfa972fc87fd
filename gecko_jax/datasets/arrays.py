"""Arrays -> `Dataset`: rows, labels and ids are checked here, and every loader ends here."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gecko_jax import checks
from gecko_jax.datasets.hashing import check_ids, ranks
from gecko_jax.datasets.hosts import as_float32, host_array
from gecko_jax.trees import take
from gecko_jax.types import Dataset, Examples

MAX_CLASSES = int(np.iinfo(np.int32).max)  # labels are stored as int32
MAX_SCALE_RATIO = 6  # of one split's median to the largest entry of the other


def _inputs(name: str, x: np.ndarray) -> np.ndarray:
    x = host_array(name, x)
    if x.ndim < 2:
        raise ValueError(f"{name} has shape {x.shape}; expected [n, ...] with a features axis: use x[:, None] for one.")
    if x.dtype.kind not in "biuf":
        raise ValueError(f"{name} has dtype {x.dtype}; expected real numbers, such as {name}.astype(np.float32).")
    checks.not_empty(name, x)
    return as_float32(name, x)


def class_labels(name: str, y: np.ndarray, rows: int) -> np.ndarray:
    """Returns labels as an integer array [rows], in their own type; raises ValueError if they are anything else."""
    y = host_array(name, y)
    if y.ndim == 2 and y.shape[1] == 1:
        raise ValueError(f"{name} has shape {y.shape}; expected [n] class numbers: use {name}[:, 0].")
    if y.ndim != 1:
        raise ValueError(f"{name} has shape {y.shape}; expected [n] class numbers: use .argmax(-1) on one-hot rows.")
    if y.dtype.kind not in "biu":
        are_integers = y.dtype.kind == "f" and bool(np.all(np.isfinite(y))) and bool(np.all(y == np.round(y)))
        remedy = f"use {name}.astype(np.int32)" if are_integers else (
            "number the classes of both splits together, classes, y = np.unique(all_labels, return_inverse=True)"
        )  # fmt: skip
        raise ValueError(
            f"{name} has dtype {y.dtype}; expected integers, the class numbers from 0: {remedy}. Pass labels "
            "of any other kind to datasets.from_examples."
        )
    if len(y) != rows:
        raise ValueError(f"{name} has {len(y)} labels for {rows} rows of x; each row needs exactly one.")
    return y  # in its own type: a cast to int64 would wrap the largest of uint64


def _count_classes(labels: Mapping[str, np.ndarray]) -> int:
    """Returns how many classes the labels number 0, 1, 2, ...; a number that is never used would be an empty class."""
    used = sorted({int(label) for y in labels.values() for label in np.unique(y)})
    missing = next((i for i, label in enumerate(used) if label != i), None)
    if missing is not None and used[0] >= 0:
        shown = ", ".join(map(str, used[:5])) + (", ..." if len(used) > 5 else "")
        raise ValueError(
            f"{' and '.join(labels)} hold {len(used)} different labels ({shown}), yet not {missing}: num_classes would "
            f"be {used[-1] + 1}, with classes that no row has. Number the classes from 0 without a gap (labels, y = "
            f"np.unique(all_labels, return_inverse=True)), or pass num_classes={used[-1] + 1} if they are meant."
        )
    return used[-1] + 1


def check_classes(labels: Mapping[str, np.ndarray], num_classes: int | None) -> int:
    """Returns the number of classes; raises ValueError if a label is not one of them."""
    num_classes = checks.integer("num_classes", _count_classes(labels) if num_classes is None else num_classes, 2)
    if num_classes > MAX_CLASSES:
        raise ValueError(f"num_classes={num_classes} must be at most {MAX_CLASSES}: labels are stored as int32.")
    for name, y in labels.items():
        bad = np.flatnonzero((y < 0) | (y >= num_classes))
        if len(bad):
            ends = min(each.min() for each in labels.values()), max(each.max() for each in labels.values())
            both = ", of both splits" if len(labels) > 1 else ""
            hint = f" Labels that count from 1: pass {name} - 1{both}." if ends == (1, num_classes) else ""
            raise ValueError(
                f"{name}[{bad[0]}]={y[bad[0]]} must lie in 0..{num_classes - 1}; {len(bad)} rows do not.{hint}"
            )
    return num_classes


def _check_same_scale(train_x: np.ndarray, test_x: np.ndarray) -> None:
    """Raises ValueError if one split lies far below the typical entries of the other (0..1 beside 0..255).

    Two samples of one distribution pass, because each entry would have to be below a sixth of the median.
    """
    tops = {"train_x": float(np.abs(train_x).max()), "test_x": float(np.abs(test_x).max())}
    small, large = sorted(tops, key=tops.__getitem__)
    if not 0 < MAX_SCALE_RATIO * tops[small] <= tops[large]:
        return
    x = train_x if large == "train_x" else test_x
    typical = float(np.median(np.abs(x[x != 0])))
    if MAX_SCALE_RATIO * tops[small] <= typical:
        raise ValueError(
            f"{small} reaches no further than {tops[small]:g}, and {large} has a median of {typical:g} (zeros left "
            "out): the two are scaled differently. Scale both alike (images / 255), or pass same_scale=False if they "
            "are meant to differ."
        )


def dataset(
    name: str,
    train_x: np.ndarray,
    train_y: np.ndarray,
    test_x: np.ndarray | None = None,
    test_y: np.ndarray | None = None,
    num_classes: int | None = None,
    ids: np.ndarray | None = None,
    same_scale: bool = True,
    test_rows: int | None = None,
) -> Dataset:
    """Checks your own arrays and returns them as a `Dataset` of classes.

    For several input arrays, tokens, or labels that are not class numbers use `from_examples`, for files `from_csv` and
    `from_npz`.

    Args:
      name: what reports call it.
      train_x: inputs [n, ...], real and finite; stored as float32 and not rescaled (images are best in 0..1).
      train_y: labels [n], integers (or bools) in 0..num_classes-1.
      test_x: inputs [t, ...] of the same trailing shape. None: `test_rows` of the n rows become the test set.
      test_y: labels [t]; None together with test_x.
      num_classes: number of classes, at least 2. None: as many as there are labels, which must then be 0, 1, 2, ...
        without a gap in the two splits together.
      ids: integers [n + t] of int64's range, unique, first those of the training rows; 0..n+t-1 if None. Membership is
        keyed by them.
      same_scale: whether to refuse splits of which one lies far below the other (0..1 beside 0..255).
      test_rows: size of the test set if test_x is None; a fifth of the rows if None. The split is a function of the
        name and the ids alone, so it is the same in every run and on every machine.

    Returns:
      A Dataset of host arrays: x float32, y int32, id int64.

    Raises:
      ValueError: an empty split, shapes that do not agree, entries that are masked or not finite, splits of different
        scale, labels out of range or with a gap, and ids that are duplicated or too large.

    Example:
      >>> data = dataset("mine", np.ones((3, 2)), np.array([0, 1, 1]), np.zeros((1, 2)), np.array([0]))
      >>> data.num_classes, data.train.x.shape, data.test.id
      (2, (3, 2), array([3]))
      >>> len(dataset("mine", np.ones((10, 2)), np.arange(10) % 2).test.y)
      2
    """
    if (test_x is None) != (test_y is None):
        raise ValueError("test_x and test_y belong together: pass both, or neither to split off a test set.")
    if test_rows is not None and test_x is not None:
        raise ValueError(f"test_rows={test_rows} splits rows without a test set; leave it out, or test_x and test_y.")
    x = {"train_x": _inputs("train_x", train_x)} | ({} if test_x is None else {"test_x": _inputs("test_x", test_x)})
    y = {"train_y": class_labels("train_y", train_y, len(x["train_x"]))}
    if test_x is not None and test_y is not None:
        if x["train_x"].shape[1:] != x["test_x"].shape[1:]:
            shapes = [part.shape[1:] for part in x.values()]
            raise ValueError(f"train_x has rows of shape {shapes[0]}, test_x of {shapes[1]}; need the same.")
        y["test_y"] = class_labels("test_y", test_y, len(x["test_x"]))
        if same_scale:
            _check_same_scale(**x)
    num_classes = check_classes(y, num_classes)
    sizes = [len(part) for part in x.values()]
    rows = " + ".join(f"{size} {kind}" for size, kind in zip(sizes, ("training", "test"), strict=False))
    ids = check_ids(np.arange(sum(sizes)) if ids is None else ids)
    if len(ids) != sum(sizes):
        raise ValueError(f"ids has {len(ids)} entries; expected {rows} rows.")
    train = Examples(x["train_x"], y["train_y"].astype(np.int32), ids[: sizes[0]])
    if test_x is None:
        return Dataset(name, *split(name, train, test_rows), num_classes)
    return Dataset(name, train, Examples(x["test_x"], y["test_y"].astype(np.int32), ids[sizes[0] :]), num_classes)


def split(name: str, rows: Examples, test_rows: int | None) -> tuple[Examples, Examples]:
    """Splits rows into (train, test); the ids with the lowest hashes are the test set."""
    n = len(rows.id)
    tests = max(1, n // 5) if test_rows is None else test_rows
    if not 1 <= tests < n:
        raise ValueError(f"{name} has {n} rows, too few for {tests} test rows and at least one training row.")
    test = ranks(rows.id, 0, "split", name) < tests
    return take(rows, ~test), take(rows, test)
