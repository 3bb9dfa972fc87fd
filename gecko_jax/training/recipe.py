"""How a model is made, as one value: the target and its shadows are made by the same."""

from __future__ import annotations

import os
from typing import Any

import jax
import numpy as np

from gecko_jax.training.ensemble import fit, fit_ensemble
from gecko_jax.trees import row_count
from gecko_jax.types import Array, Examples, Model, Variables


class Recipe:
    """(rows of the pool, key) -> variables, by `training.fit` with these options; many at once by `ensemble`.

    Attributes:
      model: the architecture.
      pool: what rows are rows of.
      options: of `training.fit`, all but `seed` and `folder`.

    >>> from gecko_jax import datasets, models
    >>> digits = datasets.load("digits").train
    >>> made = Recipe(models.create("mlp", 10, hidden=(8,)), digits, epochs=1)(range(100), jax.random.key(0))
    >>> sorted(made)
    ['params']
    """

    def __init__(self, model: Model, pool: Examples, **options: Any):
        given = {"seed", "folder", "model_ids", "model_id"} & set(options)
        if given:
            raise ValueError(f"{sorted(given)} come with each call of a recipe: leave them out of its options.")
        self.model, self.pool, self.options = model, pool, options

    def __call__(self, rows: Array, key: jax.Array) -> Variables:
        """One model, trained on these rows of the pool alone."""
        member = np.zeros(row_count("pool", self.pool), bool)
        member[np.asarray(rows)] = True
        return fit(self.model, self.pool, member, seed=_seed(key), **self.options).variables

    def ensemble(self, member: Array, key: jax.Array, folder: str | os.PathLike[str] | None = None) -> Variables:
        """m models in one compiled program, with a leading axis [m]; member bool [m, n].

        With a folder, a run that was killed goes on where it was, and one that is done is read.
        """
        options = {**self.options, "seed": _seed(key), "folder": folder}
        return fit_ensemble(self.model, self.pool, member, **options).variables


def _seed(key: jax.Array) -> int:
    return int(jax.random.bits(key, (), "uint32"))
