"""Your own files -> `Dataset`: tables as CSV, arrays as .npz."""

from __future__ import annotations

import array
import contextlib
import csv
import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from gecko_jax import checks
from gecko_jax.datasets.arrays import dataset
from gecko_jax.datasets.examples import from_examples
from gecko_jax.files import read_arrays
from gecko_jax.types import Dataset, Examples

TABLE_ENDINGS = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
# Entries that programs write if a label is missing, in small letters.
MISSING_LABELS = ("", "na", "n/a", "nan", "null", "?")
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
    if isinstance(drop, str):
        raise ValueError(f"drop={drop!r} must be a list of columns: [{drop!r}].")
    with _opened(path) as lines:
        rows = csv.reader(lines, delimiter=delimiter)
        names = _column_names(path, rows)
        for argument, column in (("label", label), ("id", id), *(("drop", each) for each in drop)):
            if column is not None:
                checks.one_of(argument, column, names)
        features = [i for i, name in enumerate(names) if name not in (label, id, *drop)]
        if not features:
            raise ValueError(f"{path} has no feature: of its columns {', '.join(names)} all are label, id or dropped.")
        numbers, labels, ids = array.array("d"), [], []
        for number, cells in _numbered(path, rows, names):
            numbers.extend(_numbers(path, number, names, cells, features))
            labels.append(cells[names.index(label)])
            ids.append(None if id is None else cells[names.index(id)])
    x = np.frombuffer(numbers).reshape(-1, len(features))
    keys = None if id is None else _integers(path, id, ids)
    name = path.name.split(".")[0]
    if classes:
        return dataset(name, x, _class_numbers(path, label, labels), ids=keys, test_rows=test_rows)
    y = [_numbers(path, number, [label], [cell], [0])[0] for number, cell in enumerate(labels, 2)]
    return from_examples(name, Examples(x, np.array(y), keys), test_rows=test_rows)


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
    """Returns the call that reads your own file or folder of images; None if the text names neither."""
    file = Path(path)
    if file.is_dir():
        return f"datasets.from_images({path!r})"
    if path.endswith(".npz"):
        return f"datasets.from_npz({path!r})"
    if not (path.endswith(TABLE_ENDINGS) or file.is_file()):
        return None
    columns = ""
    if file.is_file():
        with contextlib.suppress(OSError, ValueError), _opened(file) as lines:
            rows = csv.reader(lines, delimiter="\t" if ".tsv" in path else ",")
            columns = f"; its columns are {checks.listed(_column_names(file, rows), 20)}"
    return f"datasets.from_csv({path!r}, label=...), with the column of the labels{columns}"


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Opens a text file, .gz or not; what is not text is a ValueError."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as lines:
            yield lines
    except (gzip.BadGzipFile, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a table as text: {error}.") from error


def _column_names(path: Path, rows: Iterator[list[str]]) -> list[str]:
    """Reads the first row, which must name columns."""
    names = [cell.strip() for cell in next(rows, [])]
    if not names:
        raise ValueError(f"{path} is empty; expected a line of column names, and a row a line.")
    if all(map(_is_number, names)):
        raise ValueError(
            f"{path} begins with numbers, {checks.listed(names)}; expected a line of column names. Write one on top, "
            "or read the file with np.loadtxt and pass its arrays to datasets.dataset."
        )
    if len(names) == 1:
        raise ValueError(f"{path} has one column, {names[0]!r}; pass delimiter={';' if ';' in names[0] else 'TAB'!r}.")
    if len(set(names)) < len(names):
        raise ValueError(f"{path} names a column twice: {', '.join(names)}.")
    return names


def _numbered(path: Path, rows: Iterator[list[str]], names: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Yields (row number in the file, cells) of each row of data."""
    number = 1
    for number, row in enumerate(filter(None, rows), 2):
        if len(row) != len(names):
            raise ValueError(f"{path}, row {number} has {len(row)} cells; expected {len(names)}, one for each column.")
        yield number, [cell.strip() for cell in row]
    if number == 1:
        raise ValueError(f"{path} holds no rows after its first line, {','.join(names)!r}.")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(path: Path, number: int, names: list[str], cells: list[str], columns: Sequence[int]) -> list[float]:
    """Reads the numbers in some columns of a row."""
    try:
        return [float(cells[i]) for i in columns]
    except ValueError:
        bad = next(i for i in columns if not _is_number(cells[i]))
        what = f"{cells[bad]!r}" if cells[bad] else "an empty cell"
        raise ValueError(
            f"{path}, row {number}, column {names[bad]!r} holds {what}; expected a number. Fill it or leave the row "
            f"out, turn text into columns of 0 and 1, or pass drop=[{names[bad]!r}]."
        ) from None


def _integers(path: Path, column: str, cells: Sequence[str]) -> np.ndarray:
    try:
        return np.array([int(cell) for cell in cells])
    except ValueError as error:
        raise ValueError(
            f"{path}, column {column!r}: ids must be integers ({error}). Leave id out: a row's place is then its id."
        ) from None


def _class_numbers(path: Path, column: str, cells: Sequence[str]) -> np.ndarray:
    missing = next((i for i, cell in enumerate(cells) if cell.lower() in MISSING_LABELS), None)
    if missing is not None:
        raise ValueError(
            f"{path}, row {missing + 2} has no label in column {column!r}, but {cells[missing]!r}; fill it or leave "
            "the row out. If it is the name of a class, give that class another name."
        )
    values: Any = np.array(cells)
    if all(map(_is_number, set(cells))):
        values = values.astype(float)
        if not (np.abs(values) < 2**53).all():
            raise ValueError(
                f"{path}, column {column!r} holds {cells[int(np.argmin(np.abs(values) < 2**53))]!r}, which is not a "
                "number that every class can be told by: fill what is missing, and begin long ids with a letter."
            )
        if not np.array_equal(values, np.round(values)):
            raise ValueError(
                f"{path}, column {column!r} holds numbers with fractions, which cannot be classes: pass classes=False "
                "for regression, or another label."
            )
    return np.unique(values, return_inverse=True)[1].reshape(-1)
