"""Pytree paths: one spelling of a leaf's name ("Dense_0/kernel") for rules, error messages and packed files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax


def path_name(path: tuple[Any, ...]) -> str:
    """A key path as "Dense_0/kernel"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def named_leaves(tree: Any) -> list[tuple[str, Any]]:
    """[(name, leaf)] in the tree's own order."""
    return [(path_name(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]


def map_named(function: Callable[[str, Any], Any], tree: Any) -> Any:
    """Maps (name, leaf) -> leaf over the tree."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: function(path_name(path), leaf), tree)


def first_not_finite(tree: Any) -> str | None:
    """The name of the first floating leaf that holds a NaN or an infinity, or None."""
    import jax.numpy as jnp

    for name, leaf in named_leaves(tree):
        if jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.floating) and not bool(jnp.isfinite(leaf).all()):
            return name
    return None


def take(tree: Any, index: Any) -> Any:
    """The rows `index` of every leaf's leading axis."""
    return jax.tree.map(lambda leaf: leaf[index], tree)
