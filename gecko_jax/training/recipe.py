"""A training recipe as one value: the target and its shadow models are made by the same recipe."""

from __future__ import annotations

import os
from typing import Any

import jax
import numpy as np

from gecko_jax.training.ensemble import fit, fit_ensemble
from gecko_jax.trees import row_count
from gecko_jax.types import Array, Examples, Model, Variables


class Recipe:
    """Trains a model on rows of a pool: (rows, key) -> variables, by `training.fit`; many at once by `ensemble`.

    Attributes:
      model: the architecture.
      pool: the examples that rows are drawn from.
      options: of `training.fit`, all but `seed`, `folder` and the model's ID.

    >>> from gecko_jax import datasets, models
    >>> digits = datasets.load("digits").train
    >>> recipe = Recipe(models.create("mlp", 10, hidden=(8,)), digits, epochs=1)
    >>> sorted(recipe(range(100), jax.random.key(0)))
    ['params']
    >>> member = np.random.default_rng(0).random((2, len(digits.y))) < 0.5
    >>> recipe.ensemble(member, jax.random.key(0))["params"]["logits"]["bias"].shape
    (2, 10)
    """

    def __init__(self, model: Model, pool: Examples, **options: Any):
        per_call = {"seed", "folder", "model_ids", "model_id"} & set(options)
        if per_call:
            raise ValueError(f"{sorted(per_call)} come with each call of a recipe: leave them out of its options.")
        self.model, self.pool, self.options = model, pool, options

    def __call__(self, rows: Array, key: jax.Array) -> Variables:
        """Returns the variables of one model, trained on these rows of the pool alone."""
        member = np.zeros(row_count("pool", self.pool), bool)
        member[np.asarray(rows)] = True
        return fit(self.model, self.pool, member, seed=_seed(key), **self.options).variables

    def ensemble(self, member: Array, key: jax.Array, folder: str | os.PathLike[str] | None = None) -> Variables:
        """Returns the variables of m models [m, ...], trained in one compiled program.

        Args:
          member: bool [m, n], who trains on what.
          key: a JAX key; the models' seed follows from it.
          folder: where the run is kept; a killed run continues from it, and a finished one is read. None: nowhere.
        """
        options = {**self.options, "seed": _seed(key), "folder": folder}
        return fit_ensemble(self.model, self.pool, member, **options).variables


def _seed(key: jax.Array) -> int:
    return int(jax.random.bits(key, (), "uint32"))
