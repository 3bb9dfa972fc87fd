"""Sizes of data sets: from their files, or as published if the files are not there yet."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gecko_jax import datasets
from gecko_jax.datasets import location, purchase, texas
from gecko_jax.types import Examples

TRAINED_SHARE = 0.8  # of the data sets that are published without a test set
# name -> (training rows, shape of a row, classes), as published
PUBLISHED = {
    "cifar10": (50_000, (32, 32, 3), 10),
    "cifar100": (50_000, (32, 32, 3), 100),
    "fashion_mnist": (60_000, (28, 28, 1), 10),
    "mnist": (60_000, (28, 28, 1), 10),
    **{
        table.name: (round(TRAINED_SHARE * (table.rows or 0)), (table.features,), table.classes)
        for table in (location.TABLE, purchase.TABLE, texas.TABLE)
    },
}


class Sizes(NamedTuple):
    """Of a data set: its training rows, one row of its kind, and its number of classes."""

    rows: int
    like: Examples
    classes: int


def sizes_of(name: str, data_dir: str | None = None) -> Sizes:
    """Returns the sizes of a data set.

    Args:
      name: of `datasets.load`.
      data_dir: the folder of its files.

    Raises:
      FileNotFoundError: without the files of a data set whose sizes are not listed here.

    >>> sizes_of("digits").rows, sizes_of("digits").like.x.shape
    (1437, (1, 8, 8, 1))
    """
    try:
        data = datasets.load(name, data_dir)
    except FileNotFoundError:
        if name not in PUBLISHED:
            raise
        rows, shape, classes = PUBLISHED[name]
        return Sizes(rows, Examples(np.zeros((1, *shape), np.float32), np.zeros(1, np.int32), np.zeros(1)), classes)
    like = Examples(*(np.asarray(part)[:1] for part in (data.train.x, data.train.y, data.train.id)))
    return Sizes(len(data.train.y), like, data.num_classes or 1)
