"""Trees without some of their leaves, and with them again: what is trained, what is not."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from gecko_jax import checks
from gecko_jax.trees.paths import named_leaves


def select_leaves(tree: Any, keep: Sequence[bool]) -> Any:
    """Returns the tree without some of its leaves.

    Mappings lose the branches that would be empty; in other containers None replaces a leaf. If all leaves are
    selected, the tree itself is returned.

    Args:
      tree: the tree.
      keep: whether each leaf is selected, in the tree's order.

    >>> select_leaves({"a": 1, "b": {"c": 2}}, [True, False])
    {'a': 1}
    """
    if all(keep):
        return tree
    return _without_leaves(tree, iter(keep))


def _without_leaves(tree: Any, keep: Any) -> Any:
    if not isinstance(tree, Mapping) or isinstance(tree, OrderedDict):
        leaves, structure = jax.tree.flatten(tree)
        return jax.tree.unflatten(structure, [leaf if next(keep) else None for leaf in leaves])
    branches = {key: _without_leaves(tree[key], keep) for key in sorted(tree)}  # JAX's own order of a mapping's leaves
    return {key: branch for key, branch in branches.items() if jax.tree.leaves(branch)}


def with_leaves(selected: Any, tree: Any, keep: Sequence[bool]) -> Any:
    """Returns the tree with its selected leaves replaced: the inverse of `select_leaves`.

    Args:
      selected: the new leaves, in a tree as `select_leaves` returns it.
      tree: the whole tree.
      keep: whether each leaf is replaced, in the tree's order.

    >>> with_leaves({"a": 5}, {"a": 1, "b": {"c": 2}}, [True, False])
    {'a': 5, 'b': {'c': 2}}
    """
    if all(keep):
        return selected
    leaves, structure = jax.tree.flatten(tree)
    new = iter(jax.tree.leaves(selected))
    return jax.tree.unflatten(structure, [next(new) if k else leaf for k, leaf in zip(keep, leaves, strict=True)])


def trainable_leaves(params: Any, trainable: Sequence[str] | None) -> tuple[bool, ...]:
    """Returns whether each leaf is trained: whether one of the expressions is found in its path.

    Args:
      params: the tree of parameters, or of their shapes.
      trainable: regular expressions, searched in paths such as "Dense_0/kernel"; None: every leaf is trained.

    Raises:
      ValueError: no expression, one that does not compile or is found in no path.

    >>> trainable_leaves({"Dense_0": {"bias": 0, "kernel": 0}, "head": {"kernel": 0}}, ["head", "Dense_0/bias"])
    (True, False, True)
    """
    names = [name for name, _ in named_leaves(params)]
    patterns = trainable_patterns(trainable)
    if patterns is None:
        return (True,) * len(names)
    for pattern in patterns:
        if not any(re.search(pattern, name) for name in names):
            raise ValueError(
                f"trainable: {pattern!r} is found in no parameter's path and would train nothing. The paths "
                f"are: {', '.join(names)}."
            )
    return tuple(any(re.search(pattern, name) for pattern in patterns) for name in names)


def trainable_patterns(trainable: Sequence[str] | str | None) -> tuple[str, ...] | None:
    """Returns the expressions of `trainable=` as a tuple, which can be hashed and compared; None stays None.

    Args:
      trainable: one expression, several, or None.

    Raises:
      ValueError: no expression at all, something else than text, or an expression that does not compile.

    >>> trainable_patterns("Dense_1")
    ('Dense_1',)
    """
    if trainable is None:
        return None
    is_one = isinstance(trainable, str)
    patterns = (trainable,) if is_one else checks.entries("trainable", trainable, "regular expressions")
    if not patterns:
        raise ValueError(
            f"trainable={trainable!r} trains nothing: name what is trained by regular expressions that are searched in "
            'the parameters\' paths, such as ["Dense_1"], or leave it out to train everything.'
        )
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise ValueError(f"trainable holds {pattern!r}; expected regular expressions, such as 'Dense_1/kernel'.")
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"trainable: {pattern!r} is not a regular expression: {error}.") from None
    return patterns
