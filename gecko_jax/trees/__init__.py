"""Pytrees: names of leaves, rows, and trees without some of their leaves."""

from gecko_jax.trees.paths import first_not_finite, map_named, named_leaves, path_name
from gecko_jax.trees.rows import by_blocks, example_shapes, outputs_by_row, row_blocks, row_count, shapes, take
from gecko_jax.trees.selection import select_leaves, trainable_leaves, trainable_patterns, with_leaves

__all__ = [
    "by_blocks",
    "example_shapes",
    "first_not_finite",
    "map_named",
    "named_leaves",
    "outputs_by_row",
    "path_name",
    "row_blocks",
    "row_count",
    "select_leaves",
    "shapes",
    "take",
    "trainable_leaves",
    "trainable_patterns",
    "with_leaves",
]
