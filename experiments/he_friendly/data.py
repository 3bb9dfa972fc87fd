"""The data of the study: a listed data set, images of your own, or a made set of three unbalanced classes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from gecko_jax import checks, datasets, keys
from gecko_jax.types import Dataset

MADE = "three_classes"
SHARES = (0.58, 0.38, 0.04)  # of normal, pneumonia and COVID-19 in the paper's chest X-rays, roughly
MADE_ROWS, MADE_SIDE = (3000, 1000), 28


class Patch(NamedTuple):
    """A bright spot: its height above the background, its size, and the range of its place from left to right."""

    height: float
    size: float
    left: float
    right: float


PATCHES = ((), (Patch(0.32, 0.16, 0.15, 0.85),), (Patch(0.4, 0.07, 0.1, 0.4), Patch(0.4, 0.07, 0.6, 0.9)))  # of a class


def load(name: str, data_dir: str | None = None, side: int = 28) -> Dataset:
    """Loads the data by a data set's name, or from the path of an .npz file or of a folder of images.

    Args:
      name: of `datasets.LOADERS`, MADE, or a path.
      data_dir: see `datasets.load`.
      side: height and width of the images of a folder, in pixels.

    Raises:
      ValueError: other data than images in 0..1, or what `datasets` refuses.
      FileNotFoundError: no such file or folder.
    """
    if name == MADE:
        return three_classes()
    if name in datasets.LOADERS:
        data = datasets.load(name, data_dir)
    elif name.endswith(".npz"):
        data = datasets.from_npz(name)
    elif Path(name).is_dir():
        data = datasets.from_images(name, side=side)
    else:
        checks.one_of("dataset", name, (*datasets.LOADERS, MADE, "<file>.npz", "<folder of images>"))
    return _images(name, data)


def _images(name: str, data: Dataset) -> Dataset:
    """Returns the data with a channels axis; raises ValueError unless they are images in 0..1."""
    shape = data.train.x.shape
    if len(shape) not in (3, 4):
        raise ValueError(
            f"{name} holds x of shape {shape}; expected images [n, height, width] or [n, height, width, channels]."
        )
    parts = data.train.x, data.test.x
    low, high = min(float(x.min()) for x in parts), max(float(x.max()) for x in parts)
    if low < 0 or high > 1:
        raise ValueError(
            f"{name} holds x in {low:g}..{high:g}; expected 0..1, because polynomials grow outside the range that they "
            "were trained on. Divide images of 8 bits by 255 before you save them."
        )
    if len(shape) == 4:
        return data
    train, test = (part._replace(x=part.x[..., None]) for part in (data.train, data.test))
    return data._replace(train=train, test=test)


def three_classes(rows: tuple[int, int] = MADE_ROWS, side: int = MADE_SIDE, seed: int = 0) -> Dataset:
    """Makes gray images of three unbalanced classes, of the shape of a chest X-ray data set.

    Every image is a smooth background with noise. Class 0 has nothing else, class 1 one wide bright patch, class 2
    two small ones, on either side. SHARES says how frequent they are, in both splits.

    Args:
      rows: of the training and of the test set.
      side: height and width, in pixels.
      seed: of all that is drawn.
    """
    splits = [_drawn(count, side, keys.generator(seed, "three_classes", part)) for part, count in enumerate(rows)]
    return datasets.dataset(MADE, *splits[0], *splits[1], num_classes=3)


def _drawn(count: int, side: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    y = rng.permutation(np.repeat(np.arange(3), np.diff([0, *np.round(np.cumsum(SHARES) * count)]).astype(int)))
    place = (np.arange(side) + 0.5) / side
    x = 0.3 + 0.1 * rng.standard_normal((count, 1, 1)) + 0.12 * rng.standard_normal((count, side, side))
    tilt = rng.uniform(-0.2, 0.2, (count, 2))
    x += tilt[:, :1, None] * place[None, :, None] + tilt[:, 1:, None] * place[None, None]
    for row, label in enumerate(y):
        for patch in PATCHES[label]:
            middle = rng.uniform(0.2, 0.8), rng.uniform(patch.left, patch.right)
            distance = (place[:, None] - middle[0]) ** 2 + (place[None] - middle[1]) ** 2
            x[row] += patch.height * np.exp(-distance / (2 * patch.size**2))
    return np.clip(x, 0, 1)[..., None].astype(np.float32), y
