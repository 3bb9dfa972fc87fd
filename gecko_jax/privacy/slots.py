"""Counts the slots that Poisson batches are computed in if their sizes are known before their step is started.

A batch has slots for the largest one of a run, half as many again as its mean has rows (399 for a mean of 256). Where
the host knows the sizes of the next few batches, it computes all of them in the fewest slots of a short list that hold
the largest: 1.12 times the mean for eight batches of 256. Rows, their weights and the accounting stay the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gecko_jax.privacy.sampling import Sampling, check_sampling, probability_above

DEVIATIONS = (0, 1, 2, 3, 4)  # standard deviations above the mean at which a program is compiled, beside all slots
SLOT_MULTIPLE = 8  # of matrix units: products over other numbers of rows are padded or slow


def slot_sizes(sampling: Sampling) -> tuple[int, ...]:
    """Lists the slots that batches may be computed in: the mean, up to four deviations more, and all slots.

    Args:
      sampling: how batches are drawn.

    Returns:
      Numbers of slots in rising order, the last is `sampling.cap`; it alone for shuffled batches, which are full.

    Raises:
      ValueError: for a record that is not valid.

    >>> from gecko_jax.privacy.sampling import poisson
    >>> slot_sizes(poisson(60_000, 256, 14_063))
    (256, 272, 288, 304, 320, 399)
    """
    cap = check_sampling(sampling).cap
    if sampling.kind == "shuffled":
        return (cap,)
    mean, deviation = sampling.batch_size, math.sqrt(sampling.batch_size * (1 - sampling.rate))
    wanted = (math.ceil((mean + each * deviation) / SLOT_MULTIPLE) * SLOT_MULTIPLE for each in DEVIATIONS)
    return (*sorted({slots for slots in wanted if slots < cap}), cap)


def expected_slots(sampling: Sampling, sizes: Sequence[int], batches: int) -> float:
    """Computes the mean number of slots if several batches share the fewest of `sizes` that hold each of them.

      sum over s of s * (P(all batches fit s) - P(all batches fit the size before s))

    Args:
      sampling: how batches are drawn.
      sizes: numbers of slots in rising order; the last holds every batch.
      batches: how many share their slots: steps times models side by side.

    Returns:
      Slots of each batch.

    >>> from gecko_jax.privacy.sampling import poisson
    >>> sampling = poisson(60_000, 256, 14_063)
    >>> round(expected_slots(sampling, slot_sizes(sampling), batches=8) / 256, 2)
    1.12
    """
    fitting = [(1 - probability_above(sampling.n, sampling.rate, size)) ** batches for size in sizes[:-1]]
    chances = [high - low for low, high in zip([0.0, *fitting], [*fitting, 1.0], strict=True)]
    return float(sum(size * chance for size, chance in zip(sizes, chances, strict=True)))
