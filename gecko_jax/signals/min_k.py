"""Min-k % probability: how likely a sequence's least likely tokens are."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from gecko_jax import checks
from gecko_jax.signals.signal import Signal
from gecko_jax.signals.token_outputs import losses_of_tokens
from gecko_jax.types import Array


def min_k_probability(share: float = 0.2) -> Signal:
    """Returns the signal: the mean of log p over the `share` of a sequence's tokens that are least likely, nats.

    Of t tokens, the ceil(share * t) with the smallest p. A text that a model has not seen has a few tokens that it
    finds very unlikely; one that it was trained on has none.

    Args:
      share: of the tokens, above 0 and at most 1; 1 is minus the sequence loss.

    Raises:
      ValueError: a share that is not in 0..1, or 0.

    Source: Shi et al., "Detecting Pretraining Data from Large Language Models" (2024), Min-K% Prob.

    >>> logits = np.log([[[0.5, 0.5], [0.1, 0.9], [0.9, 0.1]]])
    >>> min_k_probability(0.3)(logits, np.array([[0, 0, 0]])).round(4).tolist()
    [-2.3026]
    """
    share = checks.in_range("share", checks.positive("share", share), 0.0, 1.0)
    name, bounds = f"min_{100 * share:g}_probability", (-math.inf, 0.0)
    return Signal(name, _lowest(share), larger="members", outputs="tokens", bounds=bounds)


@functools.cache  # so that two signals of one share are equal
def _lowest(share: float) -> Callable[[Array, Array], np.ndarray]:
    return lambda logits, y: lowest_mean(*losses_of_tokens(logits, y), share)


def lowest_mean(losses: np.ndarray, counts: np.ndarray, share: float) -> np.ndarray:
    """Returns the mean of log p [..., n] over the `share` of tokens with the largest losses.

    Args:
      losses: [..., n, t] of tokens, nats.
      counts: bool [n, t], whether a token counts; at least one does in each row.
      share: of the tokens that count.

    >>> lowest_mean(np.array([[3.0, 1.0, 9.0]]), np.array([[True, True, False]]), 0.5).tolist()
    [-3.0]
    """
    tokens = np.ceil(share * counts.sum(-1) - 1e-9)
    falling = -np.sort(-np.where(counts, losses, -1.0), axis=-1)  # tokens that do not count come last
    chosen = np.arange(losses.shape[-1]) < tokens[:, None]
    return -np.where(chosen, falling, 0.0).sum(-1) / tokens


min_20_probability = min_k_probability(0.2)
