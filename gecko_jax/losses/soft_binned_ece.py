"""The soft calibration error, a loss of a batch of classes. It is not a `types.Loss`, and so is not in LOSSES."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gecko_jax.checks import at_least, positive, shape
from gecko_jax.types import Array

MIN_RECORDS_PER_BIN = 1e-6  # divisor of a bin's gap if the bin is emptier: no gradient divides by 0
MIN_SQUARED_ERROR = 1e-12  # below it the loss is 0 in single precision, where the slope of the root is infinite


def soft_binned_ece(logits: Array, labels: Array, weight: Array, bins: int = 15, temperature: float = 0.01) -> Array:
    """Returns the differentiable calibration error of a batch.

      ece = sqrt(sum_j (s_j / sum_j s_j) (conf_j - acc_j)^2)

    Record i has the largest probability p_i and is right (a_i = 1) or wrong (a_i = 0). It belongs to every bin j with
    the share c_ij = softmax_j(-(p_i - b_j)^2 / temperature), where b_j is the middle of the bin. Then s_j = sum_i
    weight_i c_ij, and conf_j and acc_j are the means of p_i and a_i weighted by weight_i c_ij. As the temperature falls
    to 0, the bins become hard.

    The loss couples the examples of a batch. It cannot be used in private training, because no example has a gradient
    of its own that could be clipped. It ignores accuracy (a coin toss is calibrated): add it to a cross-entropy, as
    `cross_entropy + factor * soft_binned_ece`. Small batches overestimate it, because chance errors count as
    miscalibration.

    Args:
      logits: [b, classes].
      labels: [b] integers; a record whose label is not a class counts as wrong.
      weight: [b], 1 for a real row and 0 for padding.
      bins: number of bins, at least 1.
      temperature: width of the bins' edges, above 0, in squared probability. At 0.01 and 15 bins, a record on a bin's
        middle counts 0.64 times as much in the next bin; at 0.001, 0.01 times.

    Returns:
      A scalar in 0..1, float32 for logits of 32 bits or fewer; 0 for a batch of padding. Gradients flow through
      confidences and bins, not through which class is the largest, and are finite at perfect calibration too.

    Raises:
      ValueError: wrong shapes, bins < 1, a temperature that is not above 0.

    Source: Karandikar et al., "Soft Calibration Objectives for Neural Networks" (2021), eq. 11.

    >>> import jax.numpy as jnp
    >>> logits = jnp.log(jnp.array([[0.75, 0.25]] * 4))
    >>> float(soft_binned_ece(logits, jnp.array([0, 0, 0, 1]), jnp.ones(4)))
    0.0
    >>> round(float(soft_binned_ece(logits, jnp.array([0, 0, 0, 0]), jnp.ones(4))), 4)
    0.25
    """
    shape("logits", logits, (None, None))
    shape("labels", labels, logits.shape[:1])
    shape("weight", weight, logits.shape[:1])
    at_least("bins", bins, 1)
    positive("temperature", temperature)
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    confidence = jnp.max(jax.nn.softmax(logits), axis=-1)
    right = (jnp.argmax(logits, axis=-1) == labels).astype(logits.dtype)
    middles = (jnp.arange(bins, dtype=logits.dtype) + 0.5) / bins
    share = jax.nn.softmax(-((confidence[:, None] - middles[None]) ** 2) / temperature, axis=-1) * weight[:, None]
    records = share.sum(0)
    gap = (confidence - right) @ share / jnp.maximum(records, MIN_RECORDS_PER_BIN)
    square = records @ gap**2 / jnp.maximum(records.sum(), MIN_RECORDS_PER_BIN)
    matters = square > MIN_SQUARED_ERROR
    return jnp.where(matters, jnp.sqrt(jnp.where(matters, square, 1.0)), 0.0)
