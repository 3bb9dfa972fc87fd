"""scikit-learn's digits: 1,797 images of 8x8 in 10 classes; they come with the package and need no download."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from gecko_jax import extras
from gecko_jax.datasets.arrays import dataset
from gecko_jax.types import Dataset

TEST_ROWS = 360  # a fifth of the rows, which leaves 1,437 for training


def load(data_dir: str | os.PathLike | None = None) -> Dataset:
    """Loads images [n, 8, 8, 1] in 0..1 (the counts 0..16 over 16); a row's id is its place in scikit-learn's order.

    Source: the test half of E. Alpaydin and C. Kaynak, Optical recognition of handwritten digits, UCI, 1998.
    """
    del data_dir  # there is nothing to search
    extras.require("sklearn", "datasets.load('digits')")
    from sklearn.datasets import load_digits

    raw: Any = load_digits()
    images = (raw.images / 16.0).astype(np.float32)[..., None]
    return dataset("digits", images, raw.target, num_classes=10, test_rows=TEST_ROWS)
