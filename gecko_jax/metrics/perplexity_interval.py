"""The interval of a perplexity, over documents or authors."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.metrics.perplexity import exponential, totals
from gecko_jax.metrics.ratios import ratio_interval
from gecko_jax.types import Array, Estimate


def perplexity_interval(
    losses: Array,
    y: Array,
    group: Array | None = None,
    byte_counts: Array | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Returns one model's perplexity with an interval over independent groups of rows, such as documents.

    exp of the ends of `ratio_interval`, with the sums of the losses and the numbers of tokens (or bytes) of each group:
    tokens of one document resemble each other, so that the sample is of documents.

    It holds for other texts of the same kind under this very model, and not for another seed of its training.

    Args:
      losses: [n, t] nats, of one model.
      y: [n, t] the tokens that were predicted; a negative one does not count.
      group: [n] what the rows belong to: documents, or authors. None: each row is a group of its own, which is right
        only if rows are independent.
      byte_counts: None for the perplexity per token; for the one per byte, see `byte_perplexity`.
      confidence: of the interval.

    Returns:
      An Estimate, its n the number of groups; without an interval if there is one group, or the perplexity is infinite.

    Raises:
      ValueError: see `perplexity` and `byte_perplexity`; a group of another shape, or confidence outside (0, 1).

    >>> estimate = perplexity_interval([[1.0], [1.0], [2.0]], [[3], [4], [5]], group=["a", "a", "b"])
    >>> round(estimate.value, 4), estimate.n
    (3.7937, 2)
    """
    sums, units = totals(losses, y, byte_counts)
    if sums.ndim != 1:
        raise ValueError(f"losses has shape {np.shape(losses)}; expected (rows, tokens): one model at a time.")
    if group is not None:
        names = checks.shape("group", np.asarray(checks.unmasked("group", group)), sums.shape)
        place = np.unique(names, return_inverse=True)[1].reshape(-1)
        sums, units = np.bincount(place, sums), np.bincount(place, units)
    read = (units > 0) | (sums > 0)  # a row of padding alone is not an observation
    return ratio_interval(sums[read], units[read], confidence).map(lambda ratio: float(exponential(ratio)))
