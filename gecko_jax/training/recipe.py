"""A training recipe as one value: the target and its shadow models are made by the same recipe."""

from __future__ import annotations

import os
from typing import Any

import jax
import numpy as np

from gecko_jax.models import fine_tuning
from gecko_jax.training.ensemble import fit, fit_ensemble
from gecko_jax.trees import row_count
from gecko_jax.types import Array, Examples, Model, Variables


class Recipe:
    """Trains a model on rows of a pool: (rows, key) -> variables, by `training.fit`; many at once by `ensemble`.

    Attributes:
      model: the architecture.
      pool: the examples that rows are drawn from.
      pretrained: variables that every model starts from, without an axis of models; what `model` adds to theirs
        (`models.fine_tuning`) is drawn for each model by itself. None: fresh variables, or those of `init`.
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

    def __init__(self, model: Model, pool: Examples, pretrained: Variables | None = None, **options: Any):
        per_call = {"seed", "folder", "model_ids", "model_id"} & set(options)
        if per_call:
            raise ValueError(f"{sorted(per_call)} come with each call of a recipe: leave them out of its options.")
        if pretrained is not None and options.get("init") is not None:
            raise ValueError("pretrained and init both say what a model starts from: give one of the two.")
        self.model, self.pool, self.pretrained, self.options = model, pool, pretrained, options

    def __call__(self, rows: Array, key: jax.Array) -> Variables:
        """Returns the variables of one model, trained on these rows of the pool alone."""
        member = np.zeros(row_count("pool", self.pool), bool)
        member[np.asarray(rows)] = True
        return fit(self.model, self.pool, member, seed=_seed(key), **self._options(key, None)).variables

    def ensemble(self, member: Array, key: jax.Array, folder: str | os.PathLike[str] | None = None) -> Variables:
        """Returns the variables of m models [m, ...], trained in one compiled program.

        Args:
          member: bool [m, n], who trains on what.
          key: a JAX key; the models' seed follows from it.
          folder: where the run is kept; a killed run continues from it, and a finished one is read. None: nowhere.
        """
        options = {**self._options(key, len(np.atleast_2d(member))), "seed": _seed(key), "folder": folder}
        return fit_ensemble(self.model, self.pool, member, **options).variables

    def _options(self, key: jax.Array, models: int | None) -> dict[str, Any]:
        if self.pretrained is None:
            return self.options
        return {**self.options, "init": fine_tuning.start(self.model, self.pretrained, key, self.pool.x, models)}


def _seed(key: jax.Array) -> int:
    return int(jax.random.bits(key, (), "uint32"))
