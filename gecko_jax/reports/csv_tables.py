"""CSV files of figures, line by line, with a fixed header."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Iterator, Sequence


def csv_lines(path: pathlib.Path, header: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yields (place for messages, fields) of each line that is not empty.

    Raises:
      FileNotFoundError: if the file does not exist.
      ValueError: naming file and line, for another header or number of fields.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        first = next(reader, [])
        if first != list(header):
            raise ValueError(f"{path} begins with {','.join(first)!r}; expected the header {','.join(header)!r}.")
        for fields in filter(None, reader):
            where = f"{path}, line {reader.line_num}"
            if len(fields) != len(header):
                raise ValueError(f"{where}: {len(fields)} fields, expected {len(header)}.")
            yield where, fields
