"""A folder of images, one folder a class -> `Dataset`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from gecko_jax import checks, extras
from gecko_jax.datasets.arrays import dataset
from gecko_jax.types import Dataset

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
SPLITS = {"train", "test"}
MODES = {1: "L", 3: "RGB"}  # Pillow's names for gray and color
MAX_8_BIT_MODES = ("1", "L", "P", "RGB", "CMYK", "YCbCr")  # what Pillow converts without cutting values


def from_images(
    folder: str | os.PathLike[str], *, side: int = 28, channels: int = 1, test_rows: int | None = None
) -> Dataset:
    """Reads images that lie in one folder for each class, and scales them to one size.

    The classes are numbered in the order of their folders' sorted names. A folder that holds just `train` and `test`
    is read as two splits with the same classes. Names that begin with a dot are passed over.

    Args:
      folder: with a folder of images for each class, or `train` and `test` with such folders in each.
      side: height and width of the images in the data set, in pixels; images of another shape are stretched.
      channels: 1 for gray, 3 for red, green and blue.
      test_rows: size of the test set if the folder has no split of its own; see `dataset`.

    Returns:
      A Dataset named after the folder: x float32 [n, side, side, channels] in 0..1, y int32; ids number the files in
      the order of their sorted paths, training files first.

    Raises:
      FileNotFoundError: no such folder.
      ValueError: fewer than two classes, a class without images, splits with different classes, or a file that is not
        one 8-bit image without transparency, named.
      ImportError: Pillow is missing, which is installed together with Matplotlib.

    >>> import tempfile
    >>> from PIL import Image
    >>> root = Path(tempfile.mkdtemp())
    >>> for name, gray in (("ill", 255), ("well", 0)):
    ...     (root / name).mkdir()
    ...     for i in range(3):
    ...         Image.new("L", (8, 6), gray).save(root / name / f"{i}.png")
    >>> data = from_images(root, side=4, test_rows=2)
    >>> data.train.x.shape, data.num_classes, bool((data.train.x.mean((1, 2, 3)) == 1 - data.train.y).all())
    ((4, 4, 4, 1), 2, True)
    """
    folder = Path(folder)
    checks.integer("side", side, 1)
    checks.one_of("channels", channels, MODES)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; expected one with a folder of images for each class.")
    names = {path.name for path in _entries(folder)}
    parts = [folder / "train", folder / "test"] if names == SPLITS else [folder]
    files = [_classes(part) for part in parts]
    if list(files[0]) != list(files[-1]):
        differing = sorted(set(files[0]) ^ set(files[-1]))
        raise ValueError(
            f"{folder}/train and {folder}/test have different classes: {checks.listed(differing)} stands in one alone. "
            "Give both the same folders."
        )
    splits = []
    for classes in files:
        images = [_image(path, side, channels) for paths in classes.values() for path in paths]
        labels = np.repeat(np.arange(len(classes)), [len(paths) for paths in classes.values()])
        splits += [np.stack(images), labels]
    return dataset(folder.name, *splits, num_classes=len(files[0]), test_rows=test_rows, same_scale=False)


def _entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _classes(folder: Path) -> dict[str, list[Path]]:
    """Returns {class: its images}, both sorted; raises ValueError for anything that is not a class with images."""
    entries = _entries(folder)
    strays = [path.name for path in entries if not path.is_dir()]
    if strays:
        raise ValueError(
            f"{folder} holds files beside the classes' folders: {checks.listed(strays)}. Move every image into the "
            "folder of its class, and anything else elsewhere."
        )
    if len(entries) < 2:
        raise ValueError(
            f"{folder} holds {len(entries)} folders; expected one with images for each of at least two classes."
        )
    return {path.name: _images(path) for path in entries}


def _images(folder: Path) -> list[Path]:
    paths = _entries(folder)
    others = [path.name for path in paths if path.suffix.lower() not in ENDINGS]
    if others:
        raise ValueError(
            f"{folder} holds {checks.listed(others)}; expected images alone ({', '.join(ENDINGS)}). Convert it or "
            "leave it out, because a class that lacks some of its images is another data set."
        )
    if not paths:
        raise ValueError(f"{folder} holds no image; every class needs one at least. Remove the folder, or fill it.")
    return paths


def _image(path: Path, side: int, channels: int) -> np.ndarray:
    """Returns one image as float32 [side, side, channels] in 0..1."""
    extras.require("matplotlib", "datasets.from_images")  # Matplotlib installs Pillow
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            opened.load()
            _check_image(path, opened)
            upright = ImageOps.exif_transpose(opened)
            scaled = upright.convert(MODES[channels]).resize((side, side), Image.Resampling.BILINEAR)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow raises for damaged files
        raise ValueError(f"{path} cannot be read as an image ({error}). Save it again, or leave it out.") from error
    return (np.asarray(scaled, np.float32) / 255).reshape(side, side, channels)


def _check_image(path: Path, image: Any) -> None:
    """Raises ValueError for an image that a conversion to 8 bits would change in silence."""
    if image.mode not in MAX_8_BIT_MODES or "transparency" in image.info:
        raise ValueError(
            f"{path} is of mode {image.mode!r}; expected 8 bits a channel without transparency "
            f"({', '.join(MAX_8_BIT_MODES)}). A conversion would cut values: scale it to 0..255 and save it again."
        )
    if getattr(image, "n_frames", 1) > 1:
        raise ValueError(f"{path} holds {image.n_frames} frames; expected one. Save each as a file, or leave it out.")
