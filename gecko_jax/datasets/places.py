"""Where data sets are looked for, in order, and what an error says when they are nowhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def home() -> Path:
    """TensorFlow Datasets' folder: $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def own(name: str, data_dir: str | os.PathLike | None) -> Path:
    """The folder that `name` is stored in: data_dir/name, or the default folder's."""
    return (home() if data_dir is None else Path(data_dir).expanduser()) / name


def places(name: str, data_dir: str | os.PathLike | None) -> list[Path]:
    """Folders to look in: data_dir/name, data_dir, then the default folder's `name`."""
    given = [] if data_dir is None else [own(name, data_dir), Path(data_dir).expanduser()]
    return [*given, own(name, None)]


def not_found(name: str, what: str, looked: Sequence[str], remedy: str) -> FileNotFoundError:
    """An error that lists every place and what gets the data."""
    lines = "\n".join(f"  {place}" for place in looked)
    return FileNotFoundError(f"{name}: {what} not found. Looked in:\n{lines}\n{remedy}")
