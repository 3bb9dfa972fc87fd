"""Your own files -> `Dataset`: tables as CSV, arrays as .npz."""

from __future__ import annotations

import csv
import gzip
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gecko_jax import checks
from gecko_jax.datasets.arrays import dataset
from gecko_jax.datasets.examples import from_examples
from gecko_jax.files import read_arrays
from gecko_jax.types import Dataset, Examples

TABLE_ENDINGS = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
SPLITS = ("train_x", "train_y", "test_x", "test_y")


def from_csv(
    path: str | os.PathLike[str],
    label: str,
    *,
    id: str | None = None,
    drop: Sequence[str] = (),
    classes: bool = True,
    delimiter: str = ",",
    test_rows: int | None = None,
) -> Dataset:
    r"""Reads a table whose first line names its columns.

    Args:
      path: a file of text in UTF-8, .gz or not.
      label: the column with the labels.
      id: the column with the rows' ids, integers; None: the place of a row in the file. Membership is keyed by ids.
      drop: columns that are left out. All others are features, in the file's order, and hold numbers.
      classes: whether labels are classes. Their sorted values (as numbers if all are numbers, else as text) become the
        class numbers 0..K-1. False: labels are numbers, for regression, and num_classes is None.
      delimiter: the character between two cells.
      test_rows: size of the test set, a fifth if None; see `dataset`.

    Returns:
      A Dataset named after the file: x float32 [n, d], y int32 [n], or float32 [n] for numbers.

    Raises:
      FileNotFoundError: no such file.
      ValueError: no rows, an unknown column, a cell that is empty or not a number, named by its line and column; class
        labels with fractions; see `dataset`.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "flowers.csv"
    >>> _ = path.write_text("petal,species,width\n1.5,rose,2\n0.5,daisy,1\n2.5,rose,3\n")
    >>> data = from_csv(path, "species")
    >>> data.name, data.num_classes, data.train.x.shape, sorted([*data.train.y, *data.test.y]) == [0, 1, 1]
    ('flowers', 2, (2, 2), True)
    """
    path = Path(path)
    names, rows = _read_table(path, delimiter)
    if isinstance(drop, str):
        raise ValueError(f"drop={drop!r} must be a list of columns: [{drop!r}].")
    for argument, column in (("label", label), ("id", id), *(("drop", each) for each in drop)):
        if column is not None:
            checks.one_of(argument, column, names)
    features = [name for name in names if name not in (label, id, *drop)]
    if not features:
        raise ValueError(f"{path} has no feature: of its columns {', '.join(names)} all are label, id or dropped.")
    cells = dict(zip(names, zip(*rows, strict=True), strict=True))
    x = np.stack([_numbers(path, name, cells[name]) for name in features], axis=1)
    ids = None if id is None else _integers(path, id, cells[id])
    name = path.name.split(".")[0]
    if classes:
        y = _class_numbers(path, label, cells[label])
        return dataset(name, x, y, ids=ids, test_rows=test_rows)
    return from_examples(name, Examples(x, _numbers(path, label, cells[label]), ids), test_rows=test_rows)


def from_npz(path: str | os.PathLike[str], *, num_classes: int | None = None, test_rows: int | None = None) -> Dataset:
    """Reads arrays that `np.savez` wrote: x and y, or train_x, train_y, test_x and test_y; and ids, which are optional.

    Args:
      path: the file.
      num_classes, test_rows: see `dataset`.

    Returns:
      A Dataset of classes, named after the file.

    Raises:
      FileNotFoundError: no such file.
      ValueError: a damaged file, or other arrays; see `dataset`.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "mine.npz"
    >>> np.savez(path, x=np.ones((10, 3)), y=np.arange(10) % 2)
    >>> from_npz(path).train.x.shape
    (8, 3)
    """
    path = Path(path)
    arrays = read_arrays(path)
    ids = arrays.pop("ids", None)
    for kinds in (("x", "y"), SPLITS):
        if set(kinds) == set(arrays):
            parts = (arrays[kind] for kind in kinds)
            return dataset(path.stem, *parts, num_classes=num_classes, ids=ids, test_rows=test_rows)
    raise ValueError(
        f"{path} holds the arrays {checks.listed(sorted(arrays))}; expected x and y, or {', '.join(SPLITS)} (and ids, "
        "which are optional). Load it with np.load and pass its arrays to datasets.dataset or datasets.from_examples."
    )


def how_to_read(path: str) -> str | None:
    """Returns the call that reads your own file; None if the text does not name a file."""
    file = Path(path)
    if path.endswith(".npz"):
        return f"datasets.from_npz({path!r})"
    if not (path.endswith(TABLE_ENDINGS) or file.is_file()):
        return None
    columns = ""
    if file.is_file():
        try:
            columns = f"; its columns are {checks.listed(_read_table(file, _guess(path))[0], 20)}"
        except (OSError, ValueError):
            columns = ""
    return f"datasets.from_csv({path!r}, label=...), with the column of the labels{columns}"


def _guess(path: str) -> str:
    return "\t" if ".tsv" in path else ","


def _read_table(path: Path, delimiter: str) -> tuple[list[str], list[list[str]]]:
    """The columns' names and the rows' cells."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as lines:
            names, *rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter) if row]
    except (gzip.BadGzipFile, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a table as text: {error}.") from error
    except ValueError as error:
        raise ValueError(f"{path} is empty; expected a line of column names, and a row a line.") from error
    if not rows:
        raise ValueError(f"{path} holds no rows after its first line, {delimiter.join(names)!r}.")
    if all(map(_is_number, names)):
        raise ValueError(
            f"{path} begins with numbers, {checks.listed(names)}; expected a line of column names. Write one on top, "
            "or read the file with np.loadtxt and pass its arrays to datasets.dataset."
        )
    if len(names) == 1:
        raise ValueError(f"{path} has one column, {names[0]!r}; pass delimiter={';' if ';' in names[0] else 'TAB'!r}.")
    if len(set(names)) < len(names):
        raise ValueError(f"{path} names a column twice: {', '.join(names)}.")
    for number, row in enumerate(rows, 2):
        if len(row) != len(names):
            raise ValueError(f"{path}, row {number} has {len(row)} cells; expected {len(names)}, one for each column.")
    return names, rows


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(path: Path, column: str, cells: Sequence[str]) -> np.ndarray:
    try:
        return np.array(cells, dtype=float)
    except ValueError:
        place, cell = next((i, cell) for i, cell in enumerate(cells) if not _is_number(cell))
        what = f"{cell!r}" if cell else "an empty cell"
        raise ValueError(
            f"{path}, row {place + 2}, column {column!r} holds {what}; expected a number. Fill it or leave the row "
            f"out, turn text into columns of 0 and 1, or pass drop=[{column!r}]."
        ) from None


def _integers(path: Path, column: str, cells: Sequence[str]) -> np.ndarray:
    try:
        return np.array([int(cell) for cell in cells])
    except ValueError as error:
        raise ValueError(
            f"{path}, column {column!r}: ids must be integers ({error}). Leave id out: a row's place is then its id."
        ) from None


def _class_numbers(path: Path, column: str, cells: Sequence[str]) -> np.ndarray:
    empty = next((i for i, cell in enumerate(cells) if not cell), None)
    if empty is not None:
        raise ValueError(f"{path}, row {empty + 2} has no label in column {column!r}; fill it or leave the row out.")
    values: Any = np.array(cells)
    if all(map(_is_number, set(cells))):
        values = values.astype(float)
        if not np.array_equal(values, np.round(values)):
            raise ValueError(
                f"{path}, column {column!r} holds numbers with fractions, which cannot be classes: pass classes=False "
                "for regression, or another label."
            )
    return np.unique(values, return_inverse=True)[1].reshape(-1)
