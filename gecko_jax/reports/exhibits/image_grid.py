"""A grid of small images, each inside the page as a PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import extras
from gecko_jax.reports.consistency import check_same_length
from gecko_jax.reports.exhibits.exhibit import Drawing
from gecko_jax.reports.rows import Table
from gecko_jax.types import Array

PNG_URI = "data:image/png;base64,"
MAX_PIXELS_PER_SIDE = 128  # of a larger image every second pixel is shown, or every third, and so on


class ImageGrid(NamedTuple):
    """Small images in a grid.

    Attributes:
      name: its heading.
      images: each a PNG as a data URI.
      captions: one for each image, of one line or several.
      note: how to read it, or "".
    """

    name: str
    images: Sequence[str]
    captions: Sequence[str]
    note: str = ""

    @classmethod
    def of(cls, name: str, x: Array, captions: Sequence[str], note: str = "") -> ImageGrid:
        """Returns the grid of an array of images.

        Args:
          name: its heading.
          x: [k, height, width, 1 | 3], floats in 0..1 (see `is_image_batch`).
          captions: k texts.
          note: how to read it, or "".

        >>> grid = ImageGrid.of("Two images", np.zeros((2, 8, 8, 1)), ["black", "black too"])
        >>> len(grid.images), grid.images[0].startswith(PNG_URI)
        (2, True)
        """
        return cls(name, tuple(data_uri(image) for image in x), tuple(captions), note)

    def check(self, table: Table) -> None:
        """Raises ValueError unless each image has a caption and is embedded in the page."""
        del table
        check_same_length(self.name, {"images": self.images, "captions": self.captions})
        for i, image in enumerate(self.images):
            if not image.startswith(PNG_URI):  # a page asks the network for nothing
                raise ValueError(f"images[{i}] of {self.name!r} begins {image[:20]!r}; expected {PNG_URI!r}.")

    def draw(self, table: Table, prefix: str) -> Drawing:
        """Returns the images as an HTML list."""
        del table, prefix
        items = []
        for image, caption in zip(self.images, self.captions, strict=True):
            lines = "".join(f"<span>{escape(line)}</span>" for line in caption.split("\n"))
            alternative = escape(caption.replace("\n", ", "))
            items.append(f'<li><img src="{escape(image)}" alt="{alternative}">{lines}</li>')
        return Drawing(self.name, f'<ul class="images">{chr(10).join(items)}</ul>', self.note)


def is_image_batch(x: Array) -> bool:
    """Tells whether x can be shown as images: floats in 0..1 of shape [k, height, width, 1 | 3], sides of 2 or more.

    Args:
      x: an array of any shape and type.

    >>> import numpy as np
    >>> is_image_batch(np.zeros((5, 8, 8, 1))), is_image_batch(np.zeros((5, 64)))
    (True, False)
    """
    x = np.asarray(x)
    if x.ndim != 4 or x.shape[-1] not in (1, 3) or min(x.shape) == 0 or min(x.shape[1:3]) < 2:
        return False
    return x.dtype.kind == "f" and bool(((x >= 0) & (x <= 1)).all())


def data_uri(image: Array) -> str:
    """Returns one image [height, width, 1 | 3] of floats in 0..1 as a PNG of 8 bits a channel, in a data URI.

    Raises:
      ValueError: if it is not an image; see `is_image_batch`.
    """
    extras.require("matplotlib", "an image on a page")
    from matplotlib.image import imsave

    image = np.asarray(image)
    if not is_image_batch(image[None]):
        raise ValueError(f"image has shape {image.shape} and dtype {image.dtype}; expected [h, w, 1 | 3] in 0..1.")
    step = -(-max(image.shape[:2]) // MAX_PIXELS_PER_SIDE)
    pixels = np.rint(255.0 * image[::step, ::step]).astype(np.uint8)
    file = io.BytesIO()
    no_version: Any = {"Software": None}  # Matplotlib's types leave out None
    imsave(file, np.broadcast_to(pixels, (*pixels.shape[:2], 3)), format="png", metadata=no_version)
    return PNG_URI + base64.b64encode(file.getvalue()).decode()
