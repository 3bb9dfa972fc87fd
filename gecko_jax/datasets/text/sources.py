"""Your own files -> `Documents`: a folder of texts, a file of JSON lines, a text set of TFDS."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from gecko_jax import checks
from gecko_jax.datasets import tfds
from gecko_jax.datasets.text.documents import Documents, from_texts


def read_text(path: str | os.PathLike[str], encoding: str = "utf-8") -> str:
    r"""Reads one text file; bytes of another encoding are an error that names their place.

    Args:
      path: the file.
      encoding: of its bytes.

    Raises:
      FileNotFoundError: no such file.
      ValueError: an unknown encoding, bytes that are not of it, or characters of number 0 (UTF-16 read as UTF-8).

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "old.txt"
    >>> _ = path.write_bytes(b"n\xe9")
    >>> read_text(path, "latin-1")
    'né'
    """
    path = Path(path)
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding)
    except LookupError:
        raise ValueError(f'encoding={encoding!r} is not known to Python; expected one such as "utf-8".') from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: byte {content[error.start]:#04x} at {error.start} is not {encoding}. Name the "
            'encoding that the file was written in, such as encoding="latin-1", or convert the file to UTF-8.'
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(
            f"{path}, line {line}: a character of number 0, which no text holds: the file is of another encoding, such "
            'as encoding="utf-16", or not a text.'
        )
    return text


def from_folder(
    folder: str | os.PathLike[str], pattern: str = "*.txt", users: bool = False, encoding: str = "utf-8"
) -> Documents:
    """Reads each text file of a folder and of those in it as one document.

    Args:
      folder: the folder.
      pattern: of the files' names, such as "*.md".
      users: whether the first folder below `folder` that a file is in names its author.
      encoding: of the files.

    Returns:
      Documents in the order of the files' names, without times: a file's date is often that of its copy. Empty files
      are left out.

    Raises:
      FileNotFoundError: no such folder, or no such file in it.
      ValueError: only empty files, an encoding error, or a file without a folder of its author.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "ann").mkdir()
    >>> _ = (folder / "ann" / "1.txt").write_text("One.")
    >>> documents = from_folder(folder, users=True)
    >>> documents.text, documents.user.tolist()
    (('One.',), ['ann'])
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; expected one with files {pattern}.")
    paths = sorted(path for path in folder.rglob(pattern) if path.is_file())
    if not paths:
        raise FileNotFoundError(f"{folder} holds no file {pattern}; pass the pattern of its files' names.")
    texts = [(path, read_text(path, encoding)) for path in paths]
    texts = [(path, each) for path, each in texts if each.strip()]
    if not texts:
        raise ValueError(f"{folder} holds {len(paths)} files {pattern}, and all are empty.")
    names = [path.relative_to(folder).parts for path, _ in texts]
    if users and (bare := [parts for parts in names if len(parts) == 1]):
        raise ValueError(f"users=True: {bare[0][0]} lies in no folder of its author below {folder}; move it into one.")
    return from_texts([each for _, each in texts], [parts[0] for parts in names] if users else None)


def from_json_lines(
    path: str | os.PathLike[str],
    text: str = "text",
    user: str | None = None,
    time: str | None = None,
    id: str | None = None,
    encoding: str = "utf-8",
) -> Documents:
    r"""Reads a file with one JSON object a line, each a document.

    Args:
      path: the file.
      text: the key of the document.
      user: the key of its author; None: without users.
      time: the key of its time, a number or an ISO date such as "2024-05-31"; None: without times.
      id: the key of its id, an integer; None: the place among the documents. Membership is keyed by it.
      encoding: of the file; JSON's own is UTF-8.

    Raises:
      FileNotFoundError: no such file.
      ValueError: an empty file, an encoding error, or a line that is not a JSON object, lacks a key, or has an empty
        text; the message names the line.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "mine.jsonl"
    >>> _ = path.write_text('{"text": "One.", "by": "ann"}\n{"text": "Two.", "by": "bo"}\n')
    >>> from_json_lines(path, user="by").user.tolist()
    ['ann', 'bo']
    """
    keys = {"text": text, "user": user, "time": time, "id": id}
    columns = {name: key for name, key in keys.items() if key is not None}
    values: dict[str, list[Any]] = {name: [] for name in columns}
    numbers = []
    lines = read_text(path, encoding).split("\n")  # JSON texts may hold U+2028, which ends no line
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number} is not JSON ({error}); expected one object a line.") from None
        if not isinstance(record, dict):
            raise ValueError(f"{path}, line {number} is a {type(record).__name__}; expected an object with {text!r}.")
        numbers.append(number)
        for name, key in columns.items():
            if key not in record:
                raise ValueError(f"{path}, line {number} has no {key!r}; it has {checks.listed(sorted(record))}.")
            values[name].append(record[key])
        words = values["text"][-1]
        if not isinstance(words, str) or not words.strip():
            what = "an empty text" if isinstance(words, str) else f"a {type(words).__name__}"
            raise ValueError(f"{path}, line {number}: {text!r} is {what}; expected a text, or leave the line out.")
        if user is not None and values["user"][-1] in (None, ""):
            raise ValueError(f"{path}, line {number}: {user!r} names no author; leave the line out, or user=None.")
    if not numbers:
        raise ValueError(f'{path} is empty; expected one JSON object a line, such as {{"{text}": "A document."}}.')
    times = None if time is None else _times(path, time, numbers, values["time"])
    try:
        return from_texts(values["text"], values.get("user"), values.get("id"), times)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def from_tfds(
    name: str,
    split: str = "train",
    text: str = "text",
    user: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> Documents:
    """Reads a text set of TensorFlow Datasets, prepared before (scripts/prepare_data.py tfds:<name>).

    Args:
      name: its TFDS name, "wiki40b/en", say.
      split: of the set.
      text: the feature that holds the document.
      user: the feature that names its author; None: without users.
      data_dir: TFDS's folder; None: $TFDS_DATA_DIR, or ~/tensorflow_datasets.

    Raises:
      ValueError: an unknown name, split or feature.
      FileNotFoundError: the set was not prepared in that folder.
      ImportError: without the package tensorflow_datasets.

    >>> from_tfds("imdb_reviews", text="")
    Traceback (most recent call last):
    ValueError: text='' names no feature; expected one of the set's, such as "text".
    """
    for argument, feature in (("text", text), ("user", user)):
        if feature == "":
            raise ValueError(f'{argument}={feature!r} names no feature; expected one of the set\'s, such as "text".')
    source = tfds.text_source(name, split, data_dir)
    records = [source[i] for i in range(len(source))]
    checks.not_empty(f"tfds:{name}[{split}]", records)
    for feature in (text, *([] if user is None else [user])):
        checks.one_of("feature", feature, list(records[0]))
    texts, users = ([_decoded(record[key]) for record in records] for key in (text, text if user is None else user))
    return from_texts(texts, None if user is None else users)


def _decoded(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _date(value: str) -> np.datetime64:
    """Returns an ISO date in UTC, one without a zone as it is; NumPy itself would also read "today"."""
    date = datetime.datetime.fromisoformat(value)
    date = date.astimezone(datetime.UTC).replace(tzinfo=None) if date.tzinfo else date
    return np.datetime64(date, "s")


def _times(path: str | os.PathLike[str], key: str, numbers: list[int], values: list[Any]) -> np.ndarray:
    """Returns the times of all lines, as numbers or as dates; null is unknown."""
    dates = any(isinstance(value, str) for value in values)
    unknown: Any = np.datetime64("NaT", "s") if dates else float("nan")
    times = []
    for number, value in zip(numbers, values, strict=True):
        try:
            if value is not None and (isinstance(value, bool) or isinstance(value, str) is not dates):
                raise ValueError
            times.append(unknown if value is None else _date(value) if dates else float(value))
        except (TypeError, ValueError):
            raise ValueError(
                f"{path}, line {number}: {key!r} is {value!r}; expected a number in all lines, or an ISO date "
                '"2024-05-31" in all lines.'
            ) from None
    return np.array(times, "datetime64[s]" if dates else np.float64)
