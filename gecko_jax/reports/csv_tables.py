"""CSV files of figures, line by line, with a fixed header, with or without the byte-order mark of spreadsheets."""

from __future__ import annotations

import csv
import functools
import pathlib
from collections.abc import Iterator, Sequence


def csv_lines(path: pathlib.Path, header: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yields (place for messages, fields) of each line that is not empty.

    Raises:
      FileNotFoundError: if the file does not exist.
      ValueError: naming file and line, for another header or number of fields, or for what is not text in UTF-8.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        lines = iter(functools.partial(_next, path, reader), None)
        first = next(lines, [])
        if first != list(header):
            is_expected = "tolerance" in first and "tolerance" not in header
            hint = " It is a table of expected figures; a run writes its own into results.csv." if is_expected else ""
            raise ValueError(f"{path} begins with {','.join(first)!r}; expected the header {','.join(header)!r}.{hint}")
        for fields in filter(None, lines):
            where = f"{path}, line {reader.line_num}"
            if len(fields) != len(header):
                raise ValueError(f"{where}: {len(fields)} fields, expected {len(header)}.")
            yield where, fields


def _next(path: pathlib.Path, reader: Iterator[list[str]]) -> list[str] | None:
    """Returns the fields of the next line, or None after the last one."""
    try:
        return next(reader, None)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a table as text in UTF-8: {error}. Save it as CSV in UTF-8.") from error
