"""The rule for a table whose rows are read by index."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from gecko_jax.privacy.per_example.plan import Site
from gecko_jax.privacy.per_example.sites import (
    SiteGradients,
    at_least_float32,
    at_least_rounding,
    between_rows,
    gram,
    sum_over_finite,
)
from gecko_jax.types import Array


def as_index(index: Array, size: int) -> Array:
    """Casts integers of any dtype to int32; those outside of 0..size-1 stay outside, on their side.

    A uint8 cannot be compared with 256 rows, nor an int8 with 128: JAX would cast the number of rows to the narrow
    dtype, in which it wraps around or raises. A wider dtype than int32 is clipped first.
    """
    if jnp.iinfo(index.dtype).max > jnp.iinfo(jnp.int32).max:
        index = jnp.clip(index, -1 if jnp.issubdtype(index.dtype, jnp.signedinteger) else 0, size)
    return index.astype(jnp.int32)


def rows_by_index(site: Site, shape: tuple[int, ...], saved: Array, back: Array) -> tuple[Array, Array] | None:
    """Returns (index [b, t], g [b, t, d]) of a step that reads rows of a table; None for any other gather.

    Args:
      site: the gather.
      shape: of the table.
      saved: indices [b, ...].
      back: cotangents of the rows, [b, ...]; those of an index outside of the table are returned as 0.
    """
    numbers, mode = site.step.params["dimension_numbers"], site.step.params["mode"]
    one_row = (1, *shape[1:])
    plain = numbers.collapsed_slice_dims == (0,) and numbers.start_index_map == (0,)
    trailing = numbers.offset_dims == tuple(range(back.ndim - 1 - len(shape) + 1, back.ndim - 1))
    if site.saved != (1,) or not (plain and trailing and tuple(site.step.params["slice_sizes"]) == one_row):
        return None
    index = as_index(saved.reshape(len(saved), -1), shape[0])
    g = at_least_float32(back).reshape(*index.shape, -1)
    if mode != lax.GatherScatterMode.CLIP:
        inside = (index >= 0) & (index < shape[0])
        g = jnp.where(inside[..., None], g, 0)
    return jnp.clip(index, 0, shape[0] - 1), g


def equal_indices(index: Array) -> Array:
    """Tells which pairs of positions have the same index, [b, t] -> bool [b, t, t]."""
    return index[:, :, None] == index[:, None, :]


def embedding(site: Site, weight: Array, saved: Array, back: Array) -> SiteGradients | None:
    """The rule for rows of a table by index: |gradient|^2 = sum over pairs of positions with equal index of <g, g'>."""
    rows = rows_by_index(site, weight.shape, saved, back)
    if rows is None:
        return None
    index, g = rows
    equal, products = equal_indices(index), gram(g)
    squared = at_least_rounding(jnp.where(equal, products, 0), jnp.where(equal, between_rows(products), 0))

    def add_up(index, g):
        table = jnp.zeros((len(weight), g.shape[-1]), g.dtype)
        return table.at[index.reshape(-1)].add(g.reshape(-1, g.shape[-1])).reshape(weight.shape)

    def weighted(factors, is_finite):
        return sum_over_finite(is_finite, add_up, index, factors[:, None, None] * g)

    return SiteGradients(squared, weighted)
