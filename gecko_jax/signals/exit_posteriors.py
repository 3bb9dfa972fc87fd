"""The three largest probabilities and which exit answered: features for an attack on a multi-exit model."""

from __future__ import annotations

import numpy as np

from gecko_jax import checks
from gecko_jax.signals.signal import Signal
from gecko_jax.signals.top_posteriors import largest_probabilities
from gecko_jax.types import Array


def posteriors_and_exit(logits: Array, exits: Array, count: int) -> np.ndarray:
    """Returns the three largest probabilities, falling, and behind them the exit's one-hot row.

    Args:
      logits: [..., n, c], the released logits of one model or of several (`models.answers`).
      exits: int [..., n], the number of the exit that answered, from 0: the true one, or what an attacker takes it for
        (`probes.exits_from_times`, `probes.exits_from_posteriors`).
      count: how many exits there are, the network's own output among them.

    Returns:
      [..., n, k + count], with k = 3 probabilities, or 2 of two classes.

    Raises:
      ValueError: logits that are not a classifier's, exits of another shape or out of 0..count-1.

    Source: Li et al., "Auditing Membership Leakages of Multi-Exit Networks", CCS 2022 (arXiv 2208.11180), section 5.

    >>> posteriors_and_exit([[0.0, 0.0]], [1], count=2).round(6).tolist()
    [[0.5, 0.5, 0.0, 1.0]]
    """
    checks.integer("count", count, 1)
    numbers = np.asarray(exits)
    largest = largest_probabilities(logits, np.zeros(np.shape(logits)[-2:-1], np.int64))
    checks.shape("exits", numbers, largest.shape[:-1])
    if not np.issubdtype(numbers.dtype, np.integer):
        raise ValueError(f"exits has dtype {numbers.dtype}; expected the numbers of the exits, integers from 0.")
    if numbers.size and (numbers.min() < 0 or numbers.max() >= count):
        raise ValueError(
            f"exits runs from {numbers.min()} to {numbers.max()}; expected 0..{count - 1} (count={count})."
        )
    return np.concatenate([largest, np.eye(count)[numbers]], axis=-1)


exit_posteriors = Signal("exit_posteriors", axes=("value",), larger="neither", needs=("exits",))
