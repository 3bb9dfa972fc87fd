"""Checks that variables are those of one model, because packed bytes do not say that they were of several."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

from gecko_jax.trees import named_leaves, shapes
from gecko_jax.types import Model, Variables


def check_one_model(model: Model, variables: Variables, x: Any) -> None:
    """Raises ValueError unless each variable has the shape that it has in the model.

    Args:
      model, variables, x: as of `pack`.
    """
    leaves, structure = jax.tree.flatten(x)
    expected = _expected(model, structure, tuple(shapes(leaves)))
    for name, leaf in named_leaves(variables):
        shape = tuple(np.shape(leaf))
        if name not in expected or shape == expected[name]:
            continue
        way = "Pass the variables of this model."
        if shape[1:] == expected[name]:
            way = (
                f"They are of {shape[0]} models with a leading axis: pack one, jax.tree.map(lambda leaf: leaf[0], "
                "variables)."
            )
        raise ValueError(f"variables[{name!r}] has shape {shape}; the model's has {expected[name]}. {way}")


@functools.lru_cache(maxsize=64)
def _expected(model: Model, structure: Any, leaves: tuple[jax.ShapeDtypeStruct, ...]) -> dict[str, tuple[int, ...]]:
    variables = jax.eval_shape(model.init, jax.random.key(0), jax.tree.unflatten(structure, leaves))
    return {name: tuple(leaf.shape) for name, leaf in named_leaves(variables)}
