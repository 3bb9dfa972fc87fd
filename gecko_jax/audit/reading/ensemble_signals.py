"""One signal of several models on the same records: any of them may stand in for the target, the others its shadows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gecko_jax import attacks
from gecko_jax.types import Signals


class EnsembleSignals(NamedTuple):
    """One signal of m models.

    Attributes:
      values: [m, n, ...] on n records, one array for each query.
      member: [m, n] bool, who was in which model's training set.
      population: [m, z, ...] on records that no model was trained on, one array for each query; or None.
    """

    values: Sequence[np.ndarray]
    member: np.ndarray
    population: Sequence[np.ndarray] | None = None

    def stand_in(self, k: int) -> list[Signals]:
        """Returns what an attack on model k reads, with the others as its shadows: Signals for each query."""
        unseen = self.population or [None] * len(self.values)
        return [attacks.stand_in(v, self.member, k, z) for v, z in zip(self.values, unseen, strict=True)]

    def without(self, k: int) -> EnsembleSignals:
        """Returns the signal of the other models."""
        others = np.arange(len(self.member)) != k
        population = self.population and [values[others] for values in self.population]
        return EnsembleSignals([values[others] for values in self.values], self.member[others], population)

    def on(self, rows: slice) -> EnsembleSignals:
        """Returns the signal on some of the records; the population stays."""
        return self._replace(values=[values[:, rows] for values in self.values], member=self.member[:, rows])
