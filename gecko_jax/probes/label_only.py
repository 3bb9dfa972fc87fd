"""Label-only robustness: how far a model still gives the true label when a record is moved a little.

A model is surer around what it has seen, and labels alone show it: no masking of confidences hides it. The score is the
share of queries (see `queries`) that are given the true label, in 0..1; the original is one of them, so that a
misclassified record is not always 0.

Source: Choquette-Choo et al., "Label-only membership inference attacks", 2021, sections 4.1 and 4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import numpy as np

from gecko_jax.probes import queries
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
    """Share of 4 d + 1 translations given the true label: larger = more likely a member.

    Args:
      predict: x [b, ...] -> outputs [b, classes], of which the largest is read, or integer labels [b].
      x: images, floats, [n, height, width, channels] or, channels first, [n, channels, height, width].
      y: labels [n].
      d: distance in pixels, |i| + |j| = d.
      padding: what enters at the border, of `queries.PADDINGS`.
      layout: "channels_last" or "channels_first"; if None, the one that x's shape speaks for.
      batch_size: records in one call of predict.

    Returns:
      float64 [n].

    Raises:
      ValueError: no images, NaN, labels or outputs that do not fit.
    """
    x, layout = check_images(x, layout)
    return _share(predict, x, y, lambda rows: queries.translations(rows, d, padding, layout), batch_size)


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
    """Share of the original and its rotations by +r and -r, for each r of `degrees`, given the true label.

    Arguments, result and errors as of `translation_robustness`.
    """
    x, layout = check_images(x, layout)
    return _share(predict, x, y, lambda rows: queries.rotations(rows, degrees, padding, layout), batch_size)


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
    """Share of the original and its noisy copies given the true label, for records that are no images.

    Args:
      predict, y, batch_size: as of `translation_robustness`.
      x: [n, ...] floats.
      scale: standard deviation of the Gaussian noise, in x's own unit; or one for each feature [...].
      copies: noisy copies of each record; the draws are the same for all records and models.
      key: seed or JAX key of the draws.

    Returns:
      float64 [n].

    Raises:
      ValueError: NaN inputs, a scale out of bounds, labels or outputs that do not fit.
    """
    return _share(predict, check_inputs(x), y, lambda rows: queries.noise(rows, scale, copies, key), batch_size)


def _share(
    predict: Predict, x: np.ndarray, y: Array, copies: Callable[[np.ndarray], list[np.ndarray]], batch_size: int
) -> np.ndarray:
    """Block by block of records, so that no more than one block's copies are in memory."""
    y, done = check_classes(y, len(x), None), []
    for rows in row_blocks(len(x), batch_size):
        answers = [labels_of(predict, copy, batch_size) for copy in copies(x[rows])]
        truth = check_classes(y[rows], len(y[rows]), answers[0][1])
        done.append(np.mean([labels == truth for labels, _ in answers], axis=0))
    return np.concatenate(done)
