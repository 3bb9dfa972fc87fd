"""MNIST and Fashion-MNIST: four idx files, found on disk or downloaded.

Both use the same four file names. A folder named after the data set is therefore searched first, and the first labels
and the images' digests distinguish the two.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gecko_jax.datasets import idx
from gecko_jax.datasets.arrays import dataset
from gecko_jax.datasets.download import download
from gecko_jax.datasets.places import not_found, places, storage
from gecko_jax.digests import sha256
from gecko_jax.types import Dataset

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
FASHION_MNIST_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"


class _Source(NamedTuple):
    url: str
    sha256: tuple[str, ...]  # of each of FILES with .gz, as in TensorFlow Datasets
    images: str  # SHA-256 of the training images' pixels; "" if it is not known
    first_labels: tuple[int, ...]  # of the training set
    system: tuple[str, ...]  # folders of distributions' packages
    remedy: str


SOURCES = {
    "mnist": _Source(
        MNIST_URL,
        (
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
        "",
        (5, 0, 4, 1, 9, 2, 1, 3, 1, 4),
        (),
        "",
    ),
    "fashion_mnist": _Source(
        FASHION_MNIST_URL,
        (
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
        "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
        (9, 0, 0, 3, 0, 2, 7, 2, 5, 5),
        ("/usr/share/datasets/fashion-mnist",),
        "`apt-get install dataset-fashion-mnist`, or ",
    ),
}


def _in_folder(folder: Path) -> tuple[list[Path], list[str]]:
    """Lists those of FILES that are in a folder, plain or .gz, and the names of those that are not."""
    present, missing = [], []
    for name in FILES:
        candidates = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
        present += candidates[:1]
        missing += [] if candidates else [name]
    return present, missing


def find(name: str, data_dir: str | os.PathLike | None = None) -> list[Path]:
    """Returns the four files of `name`; downloads them into data_dir/name (or its default folder) if absent.

    Raises:
      FileNotFoundError: the files are absent and cannot be downloaded; the message lists every folder and a remedy.
      ValueError: a downloaded file has a different SHA-256.
    """
    source = SOURCES[name]
    looked = []
    for folder in [*places(name, data_dir), *map(Path, source.system)]:
        present, missing = _in_folder(folder)
        if not missing:
            return present
        looked.append(f"{folder} ({'no such files' if not present else 'lacks ' + ', '.join(missing)})")
    folder = storage(name, data_dir)
    try:
        for file, sha256 in zip(FILES, source.sha256, strict=True):
            if not any((folder / f"{file}{end}").is_file() for end in ("", ".gz")):
                download(f"{source.url}{file}.gz", folder / f"{file}.gz", sha256)
    except OSError as error:
        looked.append(f"{source.url} ({error})")
        command = f"`python scripts/prepare_data.py {name} --data_dir=DIR` where there is a network"
        remedy = f"Get them with {source.remedy}{command}, and pass data_dir=DIR."
        raise not_found(name, f"the idx files {', '.join(FILES)} (.gz or not)", looked, remedy) from error
    return _in_folder(folder)[0]


def _are_images_of(source: _Source, path: Path, pixels: np.ndarray) -> bool:
    """Tells whether a file and its pixels are a data set's training images."""
    return sha256(pixels.tobytes()) == source.images or sha256(path.read_bytes()) == source.sha256[0]


def _pair(images: Path, labels: Path) -> tuple[np.ndarray, np.ndarray]:
    x, y = idx.read(images, axes=3), idx.read(labels, axes=1)
    if len(x) != len(y):
        raise ValueError(f"{labels}: {len(y)} labels for the {len(x)} images of {images}. Download both again.")
    return x, y


def _scaled(images: np.ndarray) -> np.ndarray:
    x = images[..., None].astype(np.float32)
    x /= 255
    return x


def load(name: str, data_dir: str | os.PathLike | None = None) -> Dataset:
    """Loads images [n, 28, 28, 1] in 0..1; ids count the training rows and then the test rows.

    Sources: Y. LeCun, C. Cortes and C. Burges, The MNIST database, 1998; H. Xiao, K. Rasul and R. Vollgraf,
    Fashion-MNIST, arXiv:1708.07747.

    Raises:
      FileNotFoundError: the files are absent.
      ValueError: a file is damaged, does not match the other, or belongs to the other data set; the message names it.
    """
    files = find(name, data_dir)
    (train_x, train_y), (test_x, test_y) = _pair(*files[:2]), _pair(*files[2:])
    for other, source in SOURCES.items():
        if other != name and tuple(train_y[: len(source.first_labels)]) == source.first_labels:
            raise ValueError(f"{files[1]}: the labels of {other}, not {name}; keep each in a folder of its own name.")
        if other != name and _are_images_of(source, files[0], train_x):
            raise ValueError(f"{files[0]}: the images of {other}, not {name}; keep each in a folder of its own name.")
    return dataset(name, _scaled(train_x), train_y, _scaled(test_x), test_y, 10, same_scale=False)


def mnist(data_dir: str | os.PathLike | None = None) -> Dataset:
    """Loads MNIST's 60,000 + 10,000 handwritten digits; see `load`."""
    return load("mnist", data_dir)


def fashion_mnist(data_dir: str | os.PathLike | None = None) -> Dataset:
    """Loads Fashion-MNIST's 60,000 + 10,000 articles of clothing; see `load`."""
    return load("fashion_mnist", data_dir)
