"""A study on disk: record.json, from which all of it can be read back, and results.csv for other programs.

record.json is written last and serves as the commit marker: it names the SHA-256 of results.csv, of the page beside it,
and of whatever else the study wrote (`record["files"]`). Files of two runs are therefore never read as one study.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from gecko_jax import checks, files, json_values
from gecko_jax.digests import sha256
from gecko_jax.reports.decode import decode, decode_fields
from gecko_jax.reports.environment import environment
from gecko_jax.reports.exhibits import EXHIBITS, Exhibit, kind_of
from gecko_jax.reports.study import Study

FORMAT = "gecko_jax study 2"
OLDER_FORMATS = ("gecko_jax study 1",)
REQUIRED_KEYS = ("config", "seeds", "timings")
CSV_HEADER = ("row", "metric", "value", "low", "high", "kind", "unit", "n")


def write_record(
    folder: str | os.PathLike[str], study: Study, pages: Mapping[str, Callable[[Study], str]] | None = None
) -> Study:
    """Writes results.csv, the pages and, last, record.json, which names the SHA-256 of all files of the study.

    Args:
      folder: where to write; made if need be.
      study: its `record` must hold "config", "seeds" and "timings"; "environment" is added unless it is there. "files"
        may list paths below the folder of what else the study wrote.
      pages: file name -> function of the study as it will be read that returns the file's text; None for no page.

    Returns:
      The study as `read_record` would give it: with the environment, and with plain Python values throughout.

    Raises:
      ValueError: if the record lacks one of the three keys.
      TypeError: naming the entry that JSON cannot hold.
      OSError: see `files.write_together`, or if a file that the record lists is not there.

    >>> import tempfile
    >>> from gecko_jax.reports.rows import Column, Row
    >>> from gecko_jax.types import Estimate
    >>> record = {"config": {"epochs": 3}, "seeds": [0], "timings": {}}
    >>> study = Study("t", "", (Row("a", {"auc": Estimate(0.5)}),), (Column("auc", "AUC"),), record=record)
    >>> folder = tempfile.mkdtemp()
    >>> write_record(folder, study) == read_record(folder)
    True
    """
    check_record(study.record)
    folder, record = pathlib.Path(folder), dict(study.record)
    record.setdefault("environment", environment())
    study = dataclasses.replace(study, record=record)
    read_back = _loads(_dumps(study))
    contents = {"results.csv": results_csv(read_back)} | {name: page(read_back) for name, page in (pages or {}).items()}
    others = {name: sha256((folder / name).read_bytes()) for name in record.get("files", ())}
    files.write_together(folder, contents, "record.json", lambda digests: _dumps(study, digests | others))
    return read_back


def check_record(record: Mapping[str, Any]) -> None:
    """Checks what a study's record holds; call it before the training whose record it will be.

    Args:
      record: as of `write_record`'s study.

    Raises:
      ValueError: if "config", "seeds" or "timings" is missing.
      TypeError: naming the entry that JSON cannot hold.

    >>> check_record({"config": {}, "seeds": [0]})
    Traceback (most recent call last):
    ValueError: study.record lacks ['timings']; without config, seeds and timings a run cannot be repeated.
    """
    missing = [key for key in REQUIRED_KEYS if key not in record]
    if missing:
        raise ValueError(f"study.record lacks {missing}; without config, seeds and timings a run cannot be repeated.")
    json_values.plain(record, "record")


def read_record(folder: str | os.PathLike[str], complete: bool = False) -> Study:
    """Reads the study that `write_record` wrote.

    Args:
      folder: that it was written to.
      complete: whether a missing page or other named file is an error, too.

    Returns:
      The study, with plain Python values throughout.

    Raises:
      FileNotFoundError: if record.json or results.csv is missing.
      ValueError: naming the file and the fault, if record.json is cut short or is not a record, if results.csv holds
        other figures, or if a file of the study is not the one that was written with it.

    >>> import tempfile
    >>> from gecko_jax.reports.rows import Column, Row
    >>> from gecko_jax.types import Estimate
    >>> rows, record = (Row("a", {"auc": Estimate(0.5)}),), dict.fromkeys(REQUIRED_KEYS)
    >>> folder = tempfile.mkdtemp()
    >>> _ = write_record(folder, Study("Title", "", rows, (Column("auc", "AUC"),), record=record))
    >>> read_record(folder).rows[0].figures["auc"].value
    0.5
    """
    folder = pathlib.Path(folder)
    texts = {}
    for name in ("record.json", "results.csv"):
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is not there; a record is record.json and results.csv, and without record.json it was not "
                "finished. Run it again."
            )
        texts[name] = path.read_bytes().decode("utf-8-sig")
    try:
        study = _loads(texts["record.json"])
        digests = json.loads(texts["record.json"]).get("files")
    except json.JSONDecodeError as error:
        raise ValueError(f"{folder / 'record.json'} is not complete JSON ({error}); run the study again.") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{folder / 'record.json'} is not a record of a study: {error}") from error
    if texts["results.csv"].splitlines() != results_csv(study).splitlines():
        raise ValueError(
            f"{folder / 'results.csv'} does not hold the figures of record.json: it was edited, or the run was stopped "
            "between the two. Write the record again."
        )
    _check_files(folder, digests, complete)
    return study


def _check_files(folder: pathlib.Path, digests: Any, complete: bool) -> None:
    """Compares the page and the other files of a study with the digests in its record."""
    try:
        files.check_present(folder, {name: each for name, each in digests.items() if name != "results.csv"})
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{error}. Run the study again.") from error
    gone = [name for name in digests if not (folder / name).is_file()]
    if complete and gone:
        raise FileNotFoundError(f"{folder} lacks {', '.join(gone)} of its study. Run it again.")


def results_csv(study: Study) -> str:
    """Returns all figures as CSV, one a line, under row,metric,value,low,high,kind,unit,n; an absent part is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for row in study.rows:
        for column in study.columns:
            if (figure := row.figures.get(column.key)) is not None:
                low, high, n = ("" if part is None else part for part in (figure.low, figure.high, figure.n))
                writer.writerow((row.name, column.key, figure.value, low, high, figure.kind, figure.unit, n))
    return out.getvalue()


def _dumps(study: Study, digests: Mapping[str, str] | None = None) -> str:
    """Returns JSON with one row, column or exhibit a line, so that a reader and a diff can follow it."""
    body = {"format": FORMAT, **{field.name: getattr(study, field.name) for field in dataclasses.fields(study)}}
    body["exhibits"] = [{"kind": kind_of(exhibit), **exhibit._asdict()} for exhibit in study.exhibits]
    body["notes"], body["files"] = study.notes._asdict(), digests or {}
    lines = []
    for key, value in body.items():
        value = json_values.plain(value, key)
        if isinstance(value, list):
            text = "[\n" + ",\n".join(f"  {json_values.dumps(v)}" for v in value) + "\n ]" if value else "[]"
        else:
            text = json_values.dumps(value, indent=1).replace("\n", "\n ")
        lines.append(f" {json_values.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _loads(text: str) -> Study:
    body = json.loads(text)
    written = body.get("format") if isinstance(body, dict) else type(body).__name__
    if written in OLDER_FORMATS:
        raise ValueError(
            f"its format is {written!r}, an older version's; this version reads {FORMAT!r}. Run the study again. Until "
            "then, results.csv and the page beside it hold its figures."
        )
    if written != FORMAT:
        raise ValueError(f"its format is {written!r}, expected {FORMAT!r}.")
    expected = {field.name for field in dataclasses.fields(Study)} | {"format", "files"}
    if set(body) != expected:
        raise ValueError(f"it lacks {sorted(expected - set(body))} and has, unknown, {sorted(set(body) - expected)}.")
    exhibits = tuple(_exhibit(part, f"exhibits[{i}]") for i, part in enumerate(body["exhibits"]))
    fields = {name: value for name, value in body.items() if name not in ("format", "files", "exhibits")}
    return Study(**decode_fields(Study, fields, "study"), exhibits=exhibits)


def _exhibit(body: dict[str, Any], where: str) -> Exhibit:
    body = dict(body)
    return decode(checks.lookup(f"kind of {where}", body.pop("kind"), EXHIBITS), body, where)
