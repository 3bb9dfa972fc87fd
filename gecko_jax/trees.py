"""Pytree paths: one spelling of a leaf's name ("Dense_0/kernel") for rules, error messages and packed files."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.tree_util import tree_leaves_with_path

from gecko_jax.checks import integer


def path_name(path: tuple[Any, ...]) -> str:
    """Returns a key path as text: "Dense_0/kernel"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def named_leaves(tree: Any) -> list[tuple[str, Any]]:
    """Returns [(name, leaf)] in the tree's own order.

    >>> named_leaves({"Dense_0": {"kernel": 1, "bias": 2}})
    [('Dense_0/bias', 2), ('Dense_0/kernel', 1)]
    """
    return [(path_name(path), leaf) for path, leaf in tree_leaves_with_path(tree)]


def map_named(function: Callable[[str, Any], Any], tree: Any) -> Any:
    """Maps (name, leaf) -> leaf over the tree.

    >>> map_named(lambda name, leaf: f"{name}={leaf}", {"a": {"b": 1}})
    {'a': {'b': 'a/b=1'}}
    """
    return jax.tree_util.tree_map_with_path(lambda path, leaf: function(path_name(path), leaf), tree)


def first_not_finite(tree: Any) -> str | None:
    """Returns the name of the first floating leaf that holds a NaN or an infinity; None if all are finite.

    >>> first_not_finite({"a": np.ones(2), "b": np.array([np.nan])})
    'b'
    """
    import jax.numpy as jnp

    for name, leaf in named_leaves(tree):
        if jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.floating) and not bool(jnp.isfinite(leaf).all()):
            return name
    return None


def take(tree: Any, index: Any) -> Any:
    """Returns the rows `index` of every leaf's leading axis.

    >>> take({"x": np.arange(4)}, np.array([2, 0]))
    {'x': array([2, 0])}
    """
    return jax.tree.map(lambda leaf: leaf[index], tree)


def row_blocks(rows: int, size: int, full: bool = False) -> list[Any]:
    """Returns indices of rows 0..rows-1 in blocks of at most `size`, in order.

    Args:
      rows: number of rows.
      size: rows in a block.
      full: whether every block has exactly `size` rows, so that one compiled program serves all: the last one repeats
        the last row. Otherwise it is shorter.

    Returns:
      A slice for each block, or an int array [size] if `full`.

    Raises:
      ValueError: size below 1.

    >>> [block.tolist() for block in row_blocks(3, 2, full=True)], row_blocks(3, 2)
    ([[0, 1], [2, 2]], [slice(0, 2, None), slice(2, 4, None)])
    """
    starts = range(0, rows, integer("batch_size", size, 1))
    if full:
        return [np.arange(start, start + size).clip(max=rows - 1) for start in starts]
    return [slice(start, start + size) for start in starts]


def by_blocks(function: Callable[[Any], Any], rows: int, size: int, full: bool = False) -> Any:
    """Calls a function on blocks of rows and returns its results as one, on the host.

    Args:
      function: indices of a block's rows (see `row_blocks`) -> a tree of arrays [b, ...].
      rows, size, full: see `row_blocks`; rows is at least 1.

    Returns:
      The tree with leaves [rows, ...], NumPy arrays.

    Raises:
      ValueError: rows or size below 1.

    >>> x = np.arange(5)
    >>> by_blocks(lambda index: x[index] ** 2, len(x), 2, full=True).tolist()
    [0, 1, 4, 9, 16]
    """
    integer("rows", rows, 1)
    parts = [jax.device_get(function(index)) for index in row_blocks(rows, size, full)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:rows], *parts)


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

    Raises:
      ValueError: no expression at all, something else than text, or an expression that does not compile.

    >>> trainable_patterns("Dense_1")
    ('Dense_1',)
    """
    if trainable is None:
        return None
    patterns = (trainable,) if isinstance(trainable, str) else tuple(trainable)
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


def row_count(name: str, tree: Any) -> int:
    """Returns the length of the leading axis that all leaves of a batch share.

    Args:
      name: of the argument, for messages.
      tree: pytree of arrays, or of their shapes.

    Raises:
      ValueError: no leaves, a leaf without an axis, or leaves of different lengths; it names them by their paths.

    >>> row_count("batch", {"x": np.ones((3, 2)), "y": np.ones(3)})
    3
    """
    leaves = [(name + jax.tree_util.keystr(path), np.shape(leaf)) for path, leaf in tree_leaves_with_path(tree)]
    if not leaves:
        raise ValueError(f"{name} holds no arrays; expected at least one, with a leading axis of rows.")
    first, *_ = leaves
    for path, shape in leaves:
        if not shape:
            raise ValueError(
                f"{path} has shape (); every leaf of {name} has one row for each example. Put what all examples share "
                "beside the parameters, or repeat it for each row."
            )
        if shape[0] != first[1][0]:
            raise ValueError(
                f"{path} has {shape[0]} rows, {first[0]} has {first[1][0]}; every leaf of {name} has one row for each "
                "example, in the same order."
            )
    return first[1][0]


def outputs_by_row(outputs: Any, rows: int) -> Any:
    """Returns a model's outputs if they are a pytree of arrays with one row for each row of the batch.

    Only shapes are read, so that it works on tracers, before anything is computed.

    Args:
      outputs: what the model returned.
      rows: rows of the batch that it was given.

    Raises:
      ValueError: no arrays, or an array with another leading axis.
    """
    leaves = named_leaves(outputs)
    if not leaves:
        raise ValueError(f"model returns a {type(outputs).__name__} without an array; expected outputs ({rows}, ...).")
    for name, leaf in leaves:
        shape = np.shape(leaf)
        if not shape or shape[0] != rows:
            where = f" in {name!r}" if name else ""
            raise ValueError(
                f"model returns outputs of shape {shape}{where} for {rows} rows; expected ({rows}, ...): one row for "
                "each example, in the same order."
            )
    return outputs
