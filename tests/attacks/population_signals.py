"""Drawn signals of a target, its shadows and a population: records of different hardness, some seen by few models."""

from __future__ import annotations

import numpy as np

from gecko_jax.signals import SIGNALS
from gecko_jax.types import Signals

M, N = 9, 40


def drawn(signal, seed=0, models=M, records=N, leak=2.0):
    """(Signals, the target's members): records of different hardness; some records have few or no models on a side."""
    rng = np.random.default_rng(seed)
    member = rng.random((models + 1, records)) < 0.5
    member[1:, 0], member[1:, 1] = True, False
    member[1, 2], member[2:, 2], member[1, 3], member[2:, 3] = True, False, False, True
    y = rng.integers(0, 3, records)
    logits = rng.normal(size=(models + 1, records, 3)) * 2 + 3 * rng.normal(size=(records, 3))
    logits += (leak * member)[..., None] * np.eye(3)[y]
    values = SIGNALS[signal](logits, y)
    return Signals(values[1:], member[1:], values[0]), member[0]


def unseen(signal, **kwargs):
    """Signals of a population: nobody's members."""
    signals, _ = drawn(signal, leak=0.0, **kwargs)
    return signals._replace(member=np.zeros_like(signals.member))


def beside(signals, population):
    """Signals with such a population."""
    return signals._replace(population=(population.values, population.target))
