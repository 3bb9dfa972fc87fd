"""CIFAR-10 and CIFAR-100: the binary files of their authors, unpacked or in the archive, found on disk or downloaded.

A row is one byte for each label (CIFAR-100 has the superclass first), then 1,024 bytes of red, of green and of blue,
each row by row. The pickled form of the same data is not read, because a pickle can run code.
"""

from __future__ import annotations

import os
import tarfile
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gecko_jax.datasets.arrays import dataset
from gecko_jax.datasets.download import download
from gecko_jax.datasets.places import not_found, places, storage
from gecko_jax.digests import sha256
from gecko_jax.files import write_atomic
from gecko_jax.types import Dataset

SIDE, COLORS = 32, 3  # pixels; red, green and blue


class _Source(NamedTuple):
    archive: str  # its name at URL
    sha256: str  # of the archive
    folder: str  # in the archive
    train: Mapping[str, str]  # file -> SHA-256
    test: Mapping[str, str]
    labels: int  # bytes before the pixels; the last of them is the class
    classes: int


URL = "https://www.cs.toronto.edu/~kriz/"
SOURCES = {
    "cifar10": _Source(
        "cifar-10-binary.tar.gz",
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        "cifar-10-batches-bin",
        {
            "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
            "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
            "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
            "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
            "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        },
        {"test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"},
        1,
        10,
    ),
    "cifar100": _Source(
        "cifar-100-binary.tar.gz",
        "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        "cifar-100-binary",
        {"train.bin": "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29"},
        {"test.bin": "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a"},
        2,
        100,
    ),
}


def find(name: str, data_dir: str | os.PathLike | None = None) -> list[Path]:
    """Returns the binary files of `name`, or its archive; downloads the archive if neither is there.

    Args:
      name: one of SOURCES.
      data_dir: folder to search first, itself, its folder of the name, and the archive's folder in both.

    Raises:
      FileNotFoundError: the files are absent and cannot be downloaded; the message lists every folder and a remedy.
      ValueError: a downloaded archive has a different SHA-256.
    """
    source, looked = SOURCES[name], []
    for place in places(name, data_dir):
        for folder in (place, place / source.folder):
            files = [folder / file for file in (*source.train, *source.test)]
            missing = [file.name for file in files if not file.is_file()]
            if not missing:
                return files
            looked.append(f"{folder} ({'no such files' if len(missing) == len(files) else f'lacks {missing}'})")
        if (archive := place / source.archive).is_file():
            return [archive]
    archive = storage(name, data_dir) / source.archive
    try:
        return [download(URL + source.archive, archive, source.sha256)]
    except OSError as error:
        looked.append(f"{URL}{source.archive} ({error})")
        remedy = (
            f"Get the binary version, {source.archive}, with `python scripts/prepare_data.py {name} --data_dir=DIR` "
            "where there is a network, and pass data_dir=DIR."
        )
        raise not_found(name, f"{source.archive} or its files", looked, remedy) from error


def prepare(name: str, data_dir: str | os.PathLike | None = None) -> list[Path]:
    """Unpacks the archive, so that later calls of `load` read the files themselves, and returns their paths.

    Args:
      name: one of SOURCES.
      data_dir: folder to search, and to write to.
    """
    files = find(name, data_dir)
    if len(files) > 1:
        return files
    folder = storage(name, data_dir) / SOURCES[name].folder
    return [write_atomic(folder / file, data) for file, data in _contents(SOURCES[name], files).items()]


def _contents(source: _Source, files: list[Path]) -> dict[str, bytes]:
    """Returns {file: its bytes}, of plain files or of those in an archive."""
    if len(files) > 1:
        return {file.name: file.read_bytes() for file in files}
    contents = {}
    try:
        with tarfile.open(files[0], "r:gz") as archive:
            for member in archive:
                if stream := archive.extractfile(member):
                    contents[Path(member.name).name] = stream.read()
        return {name: contents[name] for name in (*source.train, *source.test)}
    except (tarfile.TarError, OSError, EOFError, zlib.error, KeyError) as error:
        raise ValueError(f"{files[0]}: corrupt archive ({error!r}); delete it and get it again.") from error


def _decode(source: _Source, file: str, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Returns images uint8 [n, 32, 32, 3] and labels [n]."""
    row = source.labels + COLORS * SIDE * SIDE
    if not data or len(data) % row:
        raise ValueError(f"{file}: {len(data)} bytes; expected rows of {row}. It is truncated, or of another data set.")
    rows = np.frombuffer(data, np.uint8).reshape(-1, row)
    y = rows[:, source.labels - 1]
    if (bad := np.flatnonzero(y >= source.classes)).size:
        raise ValueError(f"{file}: row {bad[0]} has label {y[bad[0]]}; expected 0..{source.classes - 1}.")
    return rows[:, source.labels :].reshape(-1, COLORS, SIDE, SIDE).transpose(0, 2, 3, 1), y


def load(name: str, data_dir: str | os.PathLike | None = None) -> Dataset:
    """Loads images [n, 32, 32, 3] in 0..1 and their classes; ids count the training rows and then the test rows.

    Args:
      name: one of SOURCES.
      data_dir: as of `find`.

    Raises:
      FileNotFoundError: the files are absent.
      ValueError: a file is damaged or of another data set; the message names it.

    Warns:
      UserWarning: a file is not the published one, byte for byte: a part of it, or damaged.

    Source: A. Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """
    source, files = SOURCES[name], find(name, data_dir)
    contents = _contents(source, files)
    expected = {**source.train, **source.test}
    if different := [file for file, data in contents.items() if sha256(data) != expected[file]]:
        warnings.warn(
            f"{files[0].parent}: {', '.join(different)} of {name} differ from the published files (SHA-256): a part of "
            "them, or damaged. Figures of theirs are not figures of the data set.",
            stacklevel=2,
        )
    parts = [
        [np.concatenate(arrays) for arrays in zip(*(_decode(source, f, contents[f]) for f in part), strict=True)]
        for part in (source.train, source.test)
    ]
    (train_x, train_y), (test_x, test_y) = ((x.astype(np.float32) / 255, y) for x, y in parts)
    return dataset(name, train_x, train_y, test_x, test_y, source.classes, same_scale=False)
