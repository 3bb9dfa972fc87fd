"""Exposure by repetitions: how often a secret may stand in the training data before a model knows it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.metrics.certified_exposure import certified_exposure
from gecko_jax.metrics.exposure import exposure, extrapolated_exposure
from gecko_jax.metrics.intervals import clopper_pearson, mean_interval
from gecko_jax.types import Array, Estimate


class LadderStep(NamedTuple):
    """The exposure of the secrets that were inserted equally often.

    Attributes:
      repetitions: how often each stands in the training data.
      exposure: the mean exposure by rank, in bits, with Student's t interval over the secrets; without an interval if
        all of them are saturated, because the mean is then a lower bound.
      extrapolated: the same beyond ranks, by a fitted skew-normal, or None. Above log2 of all fills it goes too far.
      certified: the mean of `certified_exposure`, a lower bound among all fills; None without `space`.
      saturated: the share of secrets that are better known than every reference, with its Clopper-Pearson interval.
        Their exposure by rank is log2 |R|, however well they are known: more references tell more.
    """

    repetitions: int
    exposure: Estimate
    extrapolated: Estimate | None
    certified: Estimate | None
    saturated: Estimate


def exposure_ladder(
    values: Array, repetitions: Array, extrapolate: bool = True, space: int | None = None, confidence: float = 0.95
) -> tuple[LadderStep, ...]:
    """Groups the exposure of secrets under one model by their number of repetitions.

    Secrets of one template and of one model: their fills differ, the text before them is the same. Under a model that
    has memorized nothing the mean exposure is about 1.44 bits, whatever the repetitions. The intervals are over
    secrets, under this very model and its references; over seeds, take `mean_interval` of one mean for each seed.

    Args:
      values: [n] loss or perplexity of each secret, smaller = better known to the model: the sum of the losses of the
        fill's tokens, because a tokenizer may give two fills different numbers of tokens.
      repetitions: [n] how often each stands in the training data, 0 for a reference, which never does.
      extrapolate: whether to fit a skew-normal to the references, at least 8 of them.
      space: number of fills of the template, `Canaries.space`, if the values are losses -log p(fill | prefix) in nats
        of a causal model; None for others.
      confidence: of the intervals.

    Returns:
      A LadderStep for each number of repetitions above 0, in order.

    Raises:
      ValueError: see `exposure`; repetitions that are not integers of at least 0, no reference, or no secret.

    Source: Carlini et al., "The Secret Sharer" (2019), sec. 4.

    >>> steps = exposure_ladder([0.5, 4.5, 1.0, 2.0, 3.0, 4.0], [9, 1, 0, 0, 0, 0], extrapolate=False)
    >>> [(step.repetitions, round(step.exposure.value, 3), step.saturated.value) for step in steps]
    [(1, -0.322, 0.0), (9, 2.0, 1.0)]
    """
    values = checks.shape("values", np.asarray(checks.unmasked("values", values), np.float64), (None,))
    counts = checks.shape("repetitions", np.asarray(checks.unmasked("repetitions", repetitions)), values.shape)
    if counts.dtype.kind not in "iu" or (counts < 0).any():
        raise ValueError(f"repetitions has dtype {counts.dtype} or counts below 0; expected integers, 0 = a reference.")
    if not (counts == 0).any() or not (counts > 0).any():
        missing = "reference, with 0 repetitions" if (counts > 0).any() else "secret, with 1 repetition or more"
        raise ValueError(f"repetitions marks no {missing}, among {len(counts)} values; both kinds are needed.")
    inserted, reference = counts > 0, values[counts == 0]
    by_rank = np.asarray(exposure(values[inserted], reference))
    beyond = np.asarray(extrapolated_exposure(values[inserted], reference)) if extrapolate else None
    bound = None if space is None else np.asarray(certified_exposure(values[inserted], space))
    top, bits = values[inserted] < reference.min(), math.log2(len(reference))

    def step(repeated: int) -> LadderStep:
        chosen = counts[inserted] == repeated

        def mean(figures: np.ndarray, lowest: float, highest: float) -> Estimate:
            # Student's t knows no ends; exposures have some.
            estimate = mean_interval(figures[chosen], confidence, unit="bits")
            if estimate.low is None or estimate.high is None:
                return estimate
            return estimate._replace(low=max(estimate.low, lowest), high=min(estimate.high, highest))

        ranked = mean(by_rank, bits - math.log2(len(reference) + 1), bits)
        full, size = int(top[chosen].sum()), int(chosen.sum())
        return LadderStep(
            repeated,
            ranked._replace(low=None, high=None) if full == size else ranked,
            None if beyond is None else mean(beyond, 0.0, math.inf),
            None if bound is None or space is None else mean(bound, 0.0, math.log2(space)),
            Estimate(full / size, *clopper_pearson(full, size, confidence), n=size),
        )

    return tuple(step(int(repeated)) for repeated in np.unique(counts[inserted]))
