"""Names of a tree's leaves: one spelling ("Dense_0/kernel") for rules, messages and packed files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import tree_leaves_with_path


def path_name(path: tuple[Any, ...]) -> str:
    """Returns a key path as text: "Dense_0/kernel".

    Args:
      path: as `jax.tree_util` gives it.

    >>> path_name(tree_leaves_with_path({"Dense_0": {"kernel": 1}})[0][0])
    'Dense_0/kernel'
    """
    return jax.tree_util.keystr(path, simple=True, separator="/")


def named_leaves(tree: Any) -> list[tuple[str, Any]]:
    """Returns [(name, leaf)] in the tree's own order.

    Args:
      tree: any pytree.

    >>> named_leaves({"Dense_0": {"kernel": 1, "bias": 2}})
    [('Dense_0/bias', 2), ('Dense_0/kernel', 1)]
    """
    return [(path_name(path), leaf) for path, leaf in tree_leaves_with_path(tree)]


def map_named(function: Callable[[str, Any], Any], tree: Any) -> Any:
    """Maps (name, leaf) -> leaf over the tree.

    Args:
      function: (name, leaf) -> the new leaf.
      tree: any pytree.

    >>> map_named(lambda name, leaf: f"{name}={leaf}", {"a": {"b": 1}})
    {'a': {'b': 'a/b=1'}}
    """
    return jax.tree_util.tree_map_with_path(lambda path, leaf: function(path_name(path), leaf), tree)


def first_not_finite(tree: Any) -> str | None:
    """Returns the name of the first floating leaf that holds a NaN or an infinity; None if all are finite.

    Args:
      tree: pytree of arrays.

    >>> import numpy as np
    >>> first_not_finite({"a": np.ones(2), "b": np.array([np.nan])})
    'b'
    """
    for name, leaf in named_leaves(tree):
        if jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.floating) and not bool(jnp.isfinite(leaf).all()):
            return name
    return None
