"""Weight sharing: a layer's weights take 2^bits values, the centroids of a k-means clustering."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.core import Tracer

from gecko_jax import checks
from gecko_jax.types import Array

MAX_CODEBOOK_BITS = 8
REMOVED = -1  # the code of a weight that pruning has removed: its value is 0, whatever the codebook


def cluster(weights: Array, bits: int, present: Array | None = None, steps: int = 50) -> tuple[Array, Array]:
    """Finds 2^bits centroids of the weights by Lloyd's k-means, and the code of each weight.

    The centroids start evenly from the smallest to the largest weight, which keeps the few large ones apart. A centroid
    without a weight stays where it is.

    Args:
      weights: floats of any shape.
      bits: 1 to 8.
      present: bool of that shape, the weights that pruning has left; None: all.
      steps: of the iteration; it may be still before.

    Returns:
      (centroids [2^bits] ascending, in the weights' type; codes, int16 of the weights' shape, REMOVED for a weight that
      is not present).

    Raises:
      ValueError: bits out of range, weights that are not floats, a mask of another shape; NaN or infinity among the
        weights, which have no mean (not inside `jax.jit` and `jax.vmap`, where the values are not known).

    Source: Han, Mao & Dally, "Deep compression", ICLR 2016 (arXiv 1510.00149), section 3.

    >>> centroids, codes = cluster(jnp.array([0.0, 0.2, 1.0, 1.2]), 1)
    >>> [round(float(value), 3) for value in centroids], codes.tolist()
    ([0.1, 1.1], [0, 0, 1, 1])
    """
    bits = checks.integer("bits", bits, 1)
    checks.in_range("bits", bits, 1, MAX_CODEBOOK_BITS)
    dtype = jnp.asarray(weights).dtype
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"weights have type {dtype}, in which a mean is rounded; expected floats. Convert them first.")
    if present is not None:
        checks.shape("present", present, jnp.shape(weights))
    if not isinstance(weights, Tracer) and not isinstance(present, Tracer):  # values that are traced are not known
        checks.finite("weights", weights if present is None else jnp.where(present, weights, 0))
    flat = jnp.ravel(weights).astype(jnp.promote_types(dtype, jnp.float32))  # half types count no further than 256
    there = jnp.ones(flat.shape, bool) if present is None else jnp.ravel(present)
    low, high = (function(jnp.where(there, flat, end)) for function, end in ((jnp.min, jnp.inf), (jnp.max, -jnp.inf)))
    start = jnp.where(jnp.any(there), jnp.linspace(low, high, 1 << bits, dtype=flat.dtype), 0)

    def codes_of(centroids):
        return jnp.searchsorted((centroids[1:] + centroids[:-1]) / 2, flat)

    def move(_, centroids):
        codes = codes_of(centroids)
        # The mean distance from the old centroid: a sum of small numbers, whose rounding does not grow with the layer.
        away = jnp.where(there, flat - centroids[codes], 0)
        sums, counts = (jax.ops.segment_sum(each, codes, 1 << bits) for each in (away, there.astype(jnp.int32)))
        return centroids + sums / jnp.maximum(counts, 1)

    centroids = jax.lax.fori_loop(0, steps, move, start).astype(dtype)
    codes = jnp.where(there, codes_of(centroids.astype(flat.dtype)), REMOVED).astype(jnp.int16)
    return centroids, codes.reshape(jnp.shape(weights))


def look_up(centroids: Array, codes: Array) -> Array:
    """Returns the weights that codes stand for; the gradient of a centroid is the sum of those of its weights.

    Args:
      centroids: [2^bits].
      codes: integers of any shape, REMOVED for a weight of 0.

    >>> look_up(jnp.array([0.5, 2.0]), jnp.array([1, -1, 0])).tolist()
    [2.0, 0.0, 0.5]
    """
    return jnp.where(codes == REMOVED, 0, centroids[jnp.maximum(codes, 0)])
