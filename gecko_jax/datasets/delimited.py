"""Binary features as text or .npz: one row a record, the class 1..K first, then zeros and ones, all comma separated.

Location and Purchase are published in this form, Texas with the classes in a file of their own (Shokri et al. 2017,
Membership inference attacks against machine learning models, arXiv:1610.05820). They come without a split. A fixed
fifth of the rows, chosen by a hash of the row number, is the test set, which is therefore the same in every run and on
every machine.
"""

from __future__ import annotations

import gzip
import io
import os
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.datasets.arrays import dataset
from gecko_jax.datasets.places import not_found, places, storage
from gecko_jax.files import read_arrays, write_atomic
from gecko_jax.types import Dataset


class Table(NamedTuple):
    """A published table.

    Attributes:
      name: its name in `gecko_jax.datasets`.
      features: number of binary columns.
      classes: number K of classes.
      files: file names under which it is searched; `prepare` writes the first.
      address: where to get it.
      rows: how many the published table has; None if that is not known.
      labels: name of the file with the classes 1..K, one a line, beside a text that holds features alone; None: the
        class comes first in each line.
    """

    name: str
    features: int
    classes: int
    files: Sequence[str]
    address: str
    rows: int | None = None
    labels: str | None = None


def _read_text(path: Path) -> np.ndarray:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig") as lines:
            return np.loadtxt(lines, np.int16, delimiter=",", comments=None, quotechar='"', ndmin=2)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: corrupt gzip file ({error}); delete it and get it again.") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}; expected rows of comma-separated integers, without a header.") from error


def _read_npz(path: Path, classes: int) -> tuple[np.ndarray, np.ndarray]:
    arrays = read_arrays(path)
    if not {"features", "labels"} <= set(arrays):
        names = checks.listed(map(repr, sorted(arrays)))
        raise ValueError(f"{path}: holds [{names}]; expected the arrays 'features' and 'labels'.")
    x, y = arrays["features"], arrays["labels"]
    if y.ndim == 2:
        if y.shape[1] != classes or not ((y == 0) | (y == 1)).all() or not (y.sum(1) == 1).all():
            raise ValueError(f"{path}: labels of shape {y.shape} are not one-hot rows of {classes} classes.")
        return x, y.argmax(1)
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise ValueError(f"{path}: labels are {y.dtype}{list(y.shape)}; expected one-hot rows or integers [n].")
    if len(y) and (y.min() == 0) == (y.max() == classes):
        raise ValueError(f"{path}: labels {y.min()}..{y.max()} may count from 0 or 1; store them as one-hot rows.")
    return x, y - (len(y) > 0 and y.min() > 0)


def _read_labels(path: Path) -> np.ndarray:
    if not path.is_file():
        raise ValueError(f"{path}: absent; expected the labels of the features beside it, one a line.")
    rows = _read_text(path)
    if rows.shape[1] != 1:
        raise ValueError(f"{path}: {rows.shape[1]} columns; expected one, the label.")
    return rows[:, 0].astype(np.int64) - 1


def read(
    path: str | os.PathLike, features: int, classes: int, labels: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Reads a file of binary features.

    Args:
      path: .npz with arrays `features` [n, d] and `labels` (one-hot [n, K], or integers [n] that reach 0 or K); else
        text, .gz or not, with a label 1..K and d zeros or ones a line.
      features: number d of features.
      classes: number K of classes.
      labels: name of the file beside a text that holds its labels 1..K, one a line; None: they come first in each line.

    Returns:
      (x, y): features [n, d] in int16 or the file's type, and labels 0..K-1 [n].

    Raises:
      ValueError: another number of columns, labels outside 1..K, features other than 0 and 1, no rows, or a damaged
        file; the message names the file.
    """
    path = Path(path)
    if path.suffix == ".npz":
        x, y = _read_npz(path, classes)
    else:
        if path.stat().st_size == 0:
            raise ValueError(f"{path}: empty; expected a label and {features} features a line.")
        rows = _read_text(path)
        if labels is None:
            if rows.shape[1] != features + 1:
                raise ValueError(f"{path}: {rows.shape[1]} columns; expected {features + 1}, a label and the features.")
            x, y = rows[:, 1:], rows[:, 0].astype(np.int64) - 1
        else:
            x, y = rows, _read_labels(path.parent / labels)
    if x.ndim != 2 or x.shape[1] != features or len(x) != len(y) or not len(x):
        raise ValueError(f"{path}: features {x.shape} and labels {y.shape}; expected (n, {features}) and (n,), n > 0.")
    bad = np.flatnonzero((y < 0) | (y >= classes))
    if len(bad):
        raise ValueError(f"{path}: row {bad[0]} has label {y[bad[0]] + 1}; expected 1..{classes}.")
    bad = np.argwhere((x != 0) & (x != 1))
    if len(bad):
        row, column = bad[0]
        raise ValueError(f"{path}: feature {column} of row {row} is {x[row, column]}; expected 0 or 1.")
    return x, y


def find(table: Table, data_dir: str | os.PathLike | None = None) -> Path:
    """Returns the table's file; raises FileNotFoundError with every folder that was searched."""
    folders = places(table.name, data_dir)
    for folder in folders:
        for file in table.files:
            if (folder / file).is_file():
                return folder / file
    remedy = f"Get it from {table.address}, put it into a folder DIR under one of these names, and pass data_dir=DIR."
    raise not_found(table.name, " or ".join(table.files), [str(folder) for folder in folders], remedy)


def _read_table(table: Table, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads a file of the table, and warns if it is not all of it."""
    x, y = read(path, table.features, table.classes, table.labels)
    if table.rows not in (None, len(y)):
        warnings.warn(
            f"{path}: has {len(y)} rows; the published table {table.name} has {table.rows}. It is a part of it, or "
            "damaged: figures of it are not figures of the data set.",
            stacklevel=3,
        )
    return x, y


def load(table: Table, data_dir: str | os.PathLike | None = None) -> Dataset:
    """Loads the table as a Dataset: x [n, d] of 0 and 1; a row's id is its place in the file.

    Warns:
      UserWarning: the file has another number of rows than the published table.
    """
    x, y = _read_table(table, find(table, data_dir))
    return dataset(table.name, x, y, num_classes=table.classes)


def prepare(table: Table, data_dir: str | os.PathLike | None = None) -> list[Path]:
    """Converts the table's text to .npz, which is read many times faster, and returns its path."""
    source = find(table, data_dir)
    x, y = _read_table(table, source)
    if source.suffix == ".npz":
        return [source]
    packed = io.BytesIO()
    np.savez_compressed(packed, features=x.astype(np.uint8), labels=np.eye(table.classes, dtype=np.uint8)[y])
    return [write_atomic(storage(table.name, data_dir) / table.files[0], packed.getvalue())]
