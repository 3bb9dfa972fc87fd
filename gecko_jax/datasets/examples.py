"""Examples of any inputs and labels -> `Dataset`: several inputs, tokens, numbers, several labels, sequences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gecko_jax.datasets.arrays import check_classes, class_labels, split
from gecko_jax.datasets.hashing import check_ids, count_on
from gecko_jax.datasets.hosts import as_float32, host_array
from gecko_jax.trees import row_count
from gecko_jax.types import Dataset, Examples


def from_examples(
    name: str,
    train: Examples,
    test: Examples | None = None,
    num_classes: int | None = None,
    test_rows: int | None = None,
) -> Dataset:
    """Checks Examples of any inputs and labels and returns them as a `Dataset`.

    Args:
      name: what reports call it.
      train: x and y are arrays, or mappings and tuples of arrays, with one leading axis [n, ...]: several inputs,
        tokens [n, t], numbers [n] or [n, k], several labels. Floats become float32, integers int32.
      test: the same for rows that are never trained on. None: see `dataset`.
      num_classes: number of classes if y is one array of class numbers [n], which are then checked; None for any other.
      test_rows: see `dataset`.

    Returns:
      A Dataset of host arrays, with num_classes as given.

    Raises:
      ValueError: leaves of different lengths, different trees in the two splits, numbers that are not finite or do not
        fit into 32 bits, text, and ids that are repeated within a split or shared by the two.

    >>> rows = Examples({"tokens": np.ones((10, 4), int)}, np.linspace(0, 1, 10))
    >>> data = from_examples("mine", rows)
    >>> data.train.x["tokens"].shape, data.train.y.dtype, data.num_classes
    ((8, 4), dtype('float32'), None)
    """
    splits = {"train": train} | ({} if test is None else {"test": test})
    parts = {kind: _checked(kind, part) for kind, part in splits.items()}
    if num_classes is not None:
        labels = {f"{kind}.y": class_labels(f"{kind}.y", part.y, len(part.id)) for kind, part in splits.items()}
        num_classes = check_classes(labels, num_classes)
    if test is None:
        return Dataset(name, *split(name, parts["train"], test_rows), num_classes)
    if test_rows is not None:
        raise ValueError(f"test_rows={test_rows} splits rows without a test set; leave it out, or test.")
    train, test = parts["train"], parts["test"]
    for field in ("x", "y"):
        ours, theirs = (_row_shapes(getattr(part, field)) for part in (train, test))
        if ours != theirs:
            raise ValueError(f"train.{field} has rows {ours}, test.{field} {theirs}; need the same.")
    if len(shared := np.intersect1d(train.id, test.id)):
        if not np.array_equal(test.id, np.arange(len(test.id))):
            raise ValueError(f"train and test share {len(shared)} ids, the first {shared[0]}; each row needs its own.")
        test = test._replace(id=count_on(train.id, test.id))  # places of rows, which are not names yet
    return Dataset(name, train, test, num_classes)


def _checked(name: str, part: Examples) -> Examples:
    """Returns the part with leaves of 32 bits, all of one length."""
    x, y = (_leaves(f"{name}.{field}", getattr(part, field)) for field in ("x", "y"))
    if row_count(f"{name}.x", x) != row_count(f"{name}.y", y):
        raise ValueError(
            f"{name}.x has {row_count('x', x)} rows and {name}.y {row_count('y', y)}; each row needs one of both."
        )
    ids = check_ids(part.id)
    if len(ids) != row_count("x", x):
        raise ValueError(f"{name}.id has {len(ids)} entries for {row_count('x', x)} rows.")
    return Examples(x, y, ids)


def _leaves(name: str, tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _leaves(f"{name}[{key!r}]", part) for key, part in tree.items()}
    if isinstance(tree, tuple):
        return tuple(_leaves(f"{name}[{i}]", part) for i, part in enumerate(tree))
    array = host_array(name, tree)
    if array.ndim == 0 or array.dtype.kind not in "biuf":
        raise ValueError(f"{name} is {array.dtype}{list(array.shape)}; expected numbers with a leading axis of rows.")
    if array.dtype.kind == "f":
        return as_float32(name, array)
    if array.size and (array.min() < np.iinfo(np.int32).min or array.max() > np.iinfo(np.int32).max):
        raise ValueError(f"{name} holds {array.min()}..{array.max()}, which int32 does not; pass smaller numbers.")
    return np.ascontiguousarray(array, np.int32)


def _row_shapes(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _row_shapes(part) for key, part in tree.items()}
    if isinstance(tree, tuple):
        return tuple(map(_row_shapes, tree))
    return f"{tree.dtype}{list(tree.shape[1:])}"
