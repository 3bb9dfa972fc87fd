"""Rows of a tree: the leading axis that its leaves share, and blocks of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import tree_leaves_with_path

from gecko_jax.checks import integer
from gecko_jax.trees.paths import named_leaves


def take(tree: Any, index: Any) -> Any:
    """Returns the rows `index` of every leaf's leading axis.

    Args:
      tree: pytree of arrays [n, ...].
      index: a number, a slice, or an array of numbers or bools [n].

    >>> take({"x": np.arange(4)}, np.array([2, 0]))
    {'x': array([2, 0])}
    """
    return jax.tree.map(lambda leaf: leaf[index], tree)


def shapes(tree: Any) -> Any:
    """Returns every leaf's shape and JAX's dtype for it: NumPy's 64 bits are 32 unless `jax_enable_x64` is on.

    Args:
      tree: pytree of arrays, of NumPy or JAX, or of their shapes.

    Returns:
      The same tree of jax.ShapeDtypeStruct.

    >>> shapes({"y": np.arange(3)})
    {'y': ShapeDtypeStruct(shape=(3,), dtype=int32)}
    """
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), tree)


def example_shapes(tree: Any) -> Any:
    """Returns the shapes of one example: those of the leaves without their leading axis.

    Args:
      tree: pytree of arrays [n, ...], or of their shapes.

    >>> example_shapes(np.zeros((5, 2)))
    ShapeDtypeStruct(shape=(2,), dtype=float32)
    """
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), shapes(tree))


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

    >>> outputs_by_row(np.zeros((2, 3)), rows=2).shape
    (2, 3)
    >>> outputs_by_row({"logits": np.zeros((3, 2))}, rows=2)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: model returns outputs of shape (3, 2) in 'logits' for 2 rows; expected (2, ...): ...
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
