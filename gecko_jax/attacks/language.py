"""Attacks on one language model that compare a text with itself: its tokens, its length, its lower case, its neighbors.

Each reads a signal of its own and needs no other model. `probes.language_signals` reads all of these signals.
"""

from __future__ import annotations

import dataclasses

from gecko_jax import signals
from gecko_jax.attacks.attack import Attack
from gecko_jax.attacks.loss import loss
from gecko_jax.signals import Signal


def min_k(share: float = 0.2) -> Attack:
    """Scores the mean log p of the `share` of a text's tokens that are least likely.

    Args:
      share: of the tokens, above 0 and at most 1.

    Raises:
      ValueError: a share outside 0..1, or 0.

    Source: Shi et al., "Detecting Pretraining Data from Large Language Models" (2024), Min-K% Prob.

    >>> min_k().signal.name, min_k(0.1).name
    ('min_20_probability', 'min_10')
    """
    return _threshold(f"min_{100 * share:g}" if share != 0.2 else "min_k", signals.min_k_probability(share))


def zlib_ratio() -> Attack:
    """Scores minus the loss per byte of the zlib-compressed text.

    Source: Carlini et al., "Extracting Training Data from Large Language Models" (2021), sec. 5.2.

    >>> zlib_ratio().needs
    ('text',)
    """
    return _threshold("zlib_ratio", signals.zlib_ratio)


def lowercase_ratio() -> Attack:
    """Scores minus the loss per loss of the same text in lower case.

    Source: Carlini et al., "Extracting Training Data from Large Language Models" (2021), sec. 5.2.

    >>> lowercase_ratio().needs
    ('text',)
    """
    return _threshold("lowercase_ratio", signals.lowercase_ratio)


def neighborhood() -> Attack:
    """Scores the mean loss of a text's neighbors minus its own.

    Source: Mattern et al., "Membership Inference Attacks against Language Models via Neighbourhood Comparison" (2023).

    >>> neighborhood().needs
    ('text',)
    """
    return _threshold("neighborhood", signals.neighborhood)


def _threshold(name: str, signal: Signal) -> Attack:
    return dataclasses.replace(loss(signal), name=name, on=None)
