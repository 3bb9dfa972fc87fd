"""The folders that are searched for a data set, in order, and the error if it is in none of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def home() -> Path:
    """Returns TensorFlow Datasets' folder: $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def storage(name: str, data_dir: str | os.PathLike | None) -> Path:
    """Returns the folder that `name` is written to: data_dir/name, or its folder in the default one."""
    return (home() if data_dir is None else Path(data_dir).expanduser()) / name


def places(name: str, data_dir: str | os.PathLike | None) -> list[Path]:
    """Lists the folders to search: data_dir/name, data_dir, then the default folder's `name`."""
    first = [] if data_dir is None else [storage(name, data_dir), Path(data_dir).expanduser()]
    return [*first, storage(name, None)]


def not_found(name: str, what: str, looked: Sequence[str], remedy: str) -> FileNotFoundError:
    """Returns an error that lists every place that was searched and how to get the data."""
    lines = "\n".join(f"  {place}" for place in looked)
    return FileNotFoundError(f"{name}: {what} not found. Looked in:\n{lines}\n{remedy}")
