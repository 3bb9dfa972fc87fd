"""Label-only robustness: how often a model still predicts the true label if a record is moved a little.

A model is surer around what it has seen, and labels alone show it, so masking confidences does not hide it. The score
is the share of queries (see `augmentations`) that get the true label, in 0..1; the original is one of them, so a
misclassified record does not always score 0.

Source: Choquette-Choo et al., "Label-only membership inference attacks", 2021, sections 4.1 and 4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import numpy as np

from gecko_jax.probes import augmentations
from gecko_jax.probes.records import BATCH, check_classes, check_images, check_inputs, labels_of
from gecko_jax.trees import row_blocks
from gecko_jax.types import Array

Predict = Callable[[Array], Array]  # x [b, ...] -> outputs [b, classes] or labels [b], in evaluation mode


def translation_robustness(
    predict: Predict,
    x: Array,
    y: Array,
    d: int = 1,
    *,
    padding: str = "edge",
    layout: str | None = None,
    batch_size: int = BATCH,
) -> np.ndarray:
    """Returns the share of 4 d + 1 translations that get the true label, [n], larger for members.

    Args:
      predict: x [b, ...] -> outputs [b, classes], of which the largest is read, or integer labels [b].
      x: images, floats, [n, height, width, channels] or, channels first, [n, channels, height, width].
      y: labels [n].
      d: distance in pixels, |i| + |j| = d.
      padding: one of `augmentations.PADDINGS`.
      layout: "channels_last" or "channels_first"; if None, the one that x's shape suggests.
      batch_size: records in one call of predict.

    Returns:
      float64 [n].

    Raises:
      ValueError: x that does not hold images, NaN, labels or outputs that do not fit.

    >>> x = np.array([[1.0, 0.0, 0.0]] * 3)[None, ..., None]
    >>> bright = lambda x: (x.mean((1, 2, 3)) > 0.1).astype(int)
    >>> translation_robustness(bright, x, np.array([1])).tolist()
    [0.8]
    """
    x, layout = check_images(x, layout)
    return _share(predict, x, y, lambda rows: augmentations.translations(rows, d, padding, layout), batch_size)


def rotation_robustness(
    predict: Predict,
    x: Array,
    y: Array,
    degrees: float | Sequence[float] = (1.0, 2.0, 4.0, 8.0),
    *,
    padding: str = "edge",
    layout: str | None = None,
    batch_size: int = BATCH,
) -> np.ndarray:
    """Returns the share of the original and its rotations that get the true label, [n], larger for members.

    Args:
      predict, x, y, padding, layout, batch_size: see `translation_robustness`.
      degrees: r, one or several; a record is rotated by +r and -r for each.

    Returns:
      float64 [n].

    Raises:
      ValueError: see `translation_robustness`.

    >>> rotation_robustness(lambda x: np.zeros(len(x), int), np.zeros((2, 8, 8, 1)), np.array([0, 1])).tolist()
    [1.0, 0.0]
    """
    x, layout = check_images(x, layout)
    return _share(predict, x, y, lambda rows: augmentations.rotations(rows, degrees, padding, layout), batch_size)


def noise_robustness(
    predict: Predict,
    x: Array,
    y: Array,
    scale: float | Array,
    copies: int,
    key: int | jax.Array,
    *,
    batch_size: int = BATCH,
) -> np.ndarray:
    """Returns the share of the original and its noisy copies that get the true label, for records other than images.

    Args:
      predict, y, batch_size: see `translation_robustness`.
      x: [n, ...] floats.
      scale: standard deviation of the Gaussian noise, in x's own unit; or one for each feature [...].
      copies: noisy copies of each record; the draws are the same for all records and models.
      key: seed or JAX key of the draws.

    Returns:
      float64 [n].

    Raises:
      ValueError: NaN inputs, a scale out of bounds, labels or outputs that do not fit.

    >>> sign = lambda x: (x[:, 0] > 0).astype(int)
    >>> noise_robustness(sign, np.array([[9.0], [-9.0]]), np.array([1, 1]), scale=0.1, copies=4, key=0).tolist()
    [1.0, 0.0]
    """
    return _share(predict, check_inputs(x), y, lambda rows: augmentations.noise(rows, scale, copies, key), batch_size)


def _share(
    predict: Predict, x: np.ndarray, y: Array, copies: Callable[[np.ndarray], list[np.ndarray]], batch_size: int
) -> np.ndarray:
    """Returns the share by blocks of records, because all copies of all records may not fit in memory."""
    y, done = check_classes(y, len(x), None), []
    for rows in row_blocks(len(x), batch_size):
        answers = [labels_of(predict, copy, batch_size) for copy in copies(x[rows])]
        truth = check_classes(y[rows], len(y[rows]), answers[0][1])
        done.append(np.mean([labels == truth for labels, _ in answers], axis=0))
    return np.concatenate(done)
