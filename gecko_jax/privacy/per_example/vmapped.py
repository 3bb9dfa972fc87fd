"""Per-example gradients that are all formed, by `vmap`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gecko_jax.privacy.per_example import graph as graphs
from gecko_jax.privacy.per_example.bookkeeping import PerExampleGradients
from gecko_jax.privacy.per_example.sites import from_gradients


def by_vmap(function: Callable[..., Any], params: Any, examples: Any) -> PerExampleGradients:
    """Computes each example's gradient by vmap; arguments as of `bookkeeping.bookkeep`."""
    replayed = graphs.replayed(function)

    def value(params, example):
        results = replayed(params, example)
        leaves, structure = jax.tree.flatten(results)
        return leaves[0], structure.unflatten(leaves)

    gradients, results = jax.vmap(jax.grad(value, has_aux=True), in_axes=(None, 0))(params, examples)
    leaves, structure = jax.tree.flatten(gradients)
    each_leaf = [from_gradients(leaf) for leaf in leaves]

    def weighted(factors, is_finite):
        return structure.unflatten([each.weighted(factors[:, i], is_finite) for i, each in enumerate(each_leaf)])

    squared = jnp.stack([each.squared for each in each_leaf], axis=1)
    return PerExampleGradients(squared, results, weighted, (True,) * len(leaves))
