"""Records as pictures inside a page."""

from __future__ import annotations

import base64
import io

import numpy as np

from gecko_jax.types import Array

START = "data:image/png;base64,"
LARGEST = 128  # pixels a side; of a larger picture, every second pixel, or every third, and so on


def are_pictures(x: Array) -> bool:
    """Whether x can be shown as pictures: [k, height, width, 1 | 3], two pixels or more a side, numbers in 0..1.

    >>> are_pictures(np.zeros((5, 8, 8, 1))), are_pictures(np.zeros((5, 64))), are_pictures(np.full((5, 8, 8, 3), 2.0))
    (True, False, False)
    """
    x = np.asarray(x)
    if x.ndim != 4 or x.shape[-1] not in (1, 3) or min(x.shape) == 0 or min(x.shape[1:3]) < 2:
        return False
    return x.dtype.kind == "f" and bool(((x >= 0) & (x <= 1)).all())


def data_uri(picture: Array) -> str:
    """One picture [height, width, 1 | 3] of floats in 0..1 as a PNG of 8 bits a channel, in a data URI.

    Raises:
      ValueError: no picture; see `are_pictures`.
    """
    from matplotlib.image import imsave

    picture = np.asarray(picture)
    if not are_pictures(picture[None]):
        raise ValueError(
            f"picture has shape {picture.shape} and dtype {picture.dtype}; expected [h, w, 1 | 3] in 0..1."
        )
    step = -(-max(picture.shape[:2]) // LARGEST)
    pixels = np.rint(255.0 * picture[::step, ::step]).astype(np.uint8)
    file = io.BytesIO()
    imsave(file, np.broadcast_to(pixels, (*pixels.shape[:2], 3)), format="png", metadata={"Software": None})
    return START + base64.b64encode(file.getvalue()).decode()
