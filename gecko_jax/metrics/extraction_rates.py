"""Shares of texts that a model gives back, with Clopper-Pearson intervals over the texts.

The intervals hold for other texts like these under this very model; for other models, take `mean_interval` of one rate
for each seed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gecko_jax import checks
from gecko_jax.metrics.intervals import clopper_pearson
from gecko_jax.types import Array, Estimate


def extraction_rate(extracted: Array, confidence: float = 0.95) -> Estimate:
    """Returns the share of texts that were extracted, with its Clopper-Pearson interval.

    Args:
      extracted: [n] bool.
      confidence: of the interval.

    Returns:
      An Estimate, its n the number of texts.

    Raises:
      ValueError: another shape, no text, or entries that are neither bool nor 0 and 1.

    >>> [round(figure, 4) for figure in extraction_rate([True, False])[:3]]  # 1 - sqrt(0.975) and sqrt(0.975)
    [0.5, 0.0126, 0.9874]
    """
    hits = as_hits(extracted)
    return Estimate(float(hits.mean()), *clopper_pearson(int(hits.sum()), len(hits), confidence), n=len(hits))


def extraction_rates(extracted: Array, group: Array, confidence: float = 0.95) -> dict[Any, Estimate]:
    """Returns `extraction_rate` of each group of texts, in order: by repetitions, by length, by kind.

    Texts that were never inserted (0 repetitions) show what a model gives back by chance.

    Args:
      extracted: [n] bool.
      group: [n] numbers or names.
      confidence: of each interval.

    Raises:
      ValueError: see `extraction_rate`; a group of another shape.

    >>> rates = extraction_rates([True, True, False], [25, 25, 0])
    >>> {repetitions: rate.value for repetitions, rate in rates.items()}
    {0: 0.0, 25: 1.0}
    """
    hits = as_hits(extracted)
    group = checks.shape("group", np.asarray(checks.unmasked("group", group)), hits.shape)
    return {name.item(): extraction_rate(hits[group == name], confidence) for name in np.unique(group)}


def as_hits(extracted: Array) -> np.ndarray:
    """Returns `extracted` as bool [n], of at least one text."""
    hits = checks.shape("extracted", np.asarray(checks.unmasked("extracted", extracted)), (None,))
    if not np.isin(checks.not_empty("extracted", hits), (0, 1)).all():
        raise ValueError(f"extracted has dtype {hits.dtype} and values other than 0 and 1; expected a bool per text.")
    return hits.astype(bool)
