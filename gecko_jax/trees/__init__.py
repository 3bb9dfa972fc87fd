"""Pytrees: names of leaves, rows, and trees without some of their leaves."""

from gecko_jax.trees.paths import first_not_finite, map_named, named_leaves, path_name
from gecko_jax.trees.rows import by_blocks, outputs_by_row, row_blocks, row_count, take
from gecko_jax.trees.selection import select_leaves, trainable_leaves, trainable_patterns, with_leaves

__all__ = [
    "by_blocks",
    "first_not_finite",
    "map_named",
    "named_leaves",
    "outputs_by_row",
    "path_name",
    "row_blocks",
    "row_count",
    "select_leaves",
    "take",
    "trainable_leaves",
    "trainable_patterns",
    "with_leaves",
]
