"""Data: name -> host arrays; who is a member; batches of indices. NumPy only.

  load(name)                                one of the data sets of the table below
  dataset(name, x, y)                       your own arrays, with a fifth as the test set, or with a test set of yours
  from_csv(path, label), from_npz(path)     your own files
  from_images(folder)                       your own images, one folder a class
  from_examples(name, Examples(x, y))       several inputs, tokens, numbers, several labels, sequences
  text                                      documents, tokenizers and token rows for language models

Membership (`coins`, `balanced`, `single`) is keyed by the rows' ids, `batches` turns it into row indices of one static
shape. `canaries` are records that a model can only know by having been trained on them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from gecko_jax import checks
from gecko_jax.datasets import canaries, cifar, delimited, digits, location, mnist, purchase, texas, text, tfds
from gecko_jax.datasets.arrays import dataset
from gecko_jax.datasets.batches import Batches, batches
from gecko_jax.datasets.examples import from_examples
from gecko_jax.datasets.image_folder import from_images
from gecko_jax.datasets.membership import balanced, coins, single
from gecko_jax.datasets.own_files import from_csv, from_npz, how_to_read
from gecko_jax.datasets.synthetic import bayes_accuracy, synthetic
from gecko_jax.types import Dataset

__all__ = [
    "LOADERS",
    "Batches",
    "balanced",
    "batches",
    "bayes_accuracy",
    "canaries",
    "coins",
    "dataset",
    "from_csv",
    "from_examples",
    "from_images",
    "from_npz",
    "load",
    "prepare",
    "single",
    "synthetic",
    "text",
]


class Loader(NamedTuple):
    """How a data set is read.

    Attributes:
      load: (data_dir) -> Dataset.
      prepare: (data_dir) -> the files that `load` reads, fetched or converted; None if it reads no file.
    """

    load: Callable[..., Dataset]
    prepare: Callable[..., list[Path]] | None = None


LOADERS = {
    "cifar10": Loader(partial(cifar.load, "cifar10"), partial(cifar.prepare, "cifar10")),
    "cifar100": Loader(partial(cifar.load, "cifar100"), partial(cifar.prepare, "cifar100")),
    "digits": Loader(digits.load),
    "fashion_mnist": Loader(mnist.fashion_mnist, partial(mnist.find, "fashion_mnist")),
    "location": Loader(partial(delimited.load, location.TABLE), partial(delimited.prepare, location.TABLE)),
    "mnist": Loader(mnist.mnist, partial(mnist.find, "mnist")),
    "purchase": Loader(partial(delimited.load, purchase.TABLE), partial(delimited.prepare, purchase.TABLE)),
    "synthetic": Loader(lambda data_dir: synthetic()),
    "texas": Loader(partial(delimited.load, texas.TABLE), partial(delimited.prepare, texas.TABLE)),
}


def _loader(name: str | os.PathLike[str]) -> Loader:
    name = os.fspath(name)
    if name.startswith("tfds:"):
        return Loader(partial(tfds.load, name[5:]), partial(tfds.prepare, name[5:]))
    if name not in LOADERS:
        if call := how_to_read(name):
            kind = "folder" if os.path.isdir(name) else "file"
            raise ValueError(f"name={name!r} is a {kind}, not the name of a data set. Read it with {call}.")
        checks.one_of("name", name, [*LOADERS, "tfds:<name>"])
    return LOADERS[name]


def load(name: str, data_dir: str | os.PathLike | None = None) -> Dataset:
    """Loads a data set by its name.

    Args:
      name: one of `LOADERS`, or "tfds:" and a name of TensorFlow Datasets. Your own files are read by `from_csv` and
        `from_npz`, your own folder of images by `from_images`.
      data_dir: folder to search first, if the data are not part of the package. The default folder is TFDS's
        ($TFDS_DATA_DIR, or ~/tensorflow_datasets), with a folder of the name in it. cifar10, cifar100,
        fashion_mnist and mnist are downloaded if they are in neither.

    Returns:
      A Dataset of host arrays: x float32 (images in 0..1), y int32, id int64.

    Raises:
      ValueError: an unknown name, the name of a file (the message says which function reads it), or a damaged file.
      FileNotFoundError: the files are absent; the message says how to get them.

    Example:
      >>> data = load("digits")
      >>> data.train.x.shape, data.test.x.shape, data.num_classes
      ((1437, 8, 8, 1), (360, 8, 8, 1), 10)
    """
    return _loader(name).load(data_dir)


def prepare(name: str, data_dir: str | os.PathLike | None = None) -> list[Path]:
    """Fetches or converts a data set for later calls of `load`.

    Args:
      name: as in `load`.
      data_dir: folder to search, and to write to.

    Returns:
      The files or folders that `load` reads; [] if it reads none.

    Raises:
      ValueError, FileNotFoundError: as `load`.
      RuntimeError: TFDS cannot prepare the data set.

    >>> prepare("digits")
    []
    """
    loader = _loader(name)
    return [] if loader.prepare is None else loader.prepare(data_dir)
