"""The rule for one matrix in several steps, which read its rows by index or multiply by it, such as a tied embedding.

A language model whose head is tied to its embedding reads rows of the table [v, d] at its tokens, and multiplies by the
transposed table to give logits. Each such step adds l^T r to an example's gradient, with rows l [t, v] and r [t, d];
for rows by index, l is 1 at the index and 0 elsewhere, and is never formed. Over all rows of all steps

  |gradient|^2 = sum of <l, l'> <r, r'> over pairs of rows,

where <l, l'> of two indices is whether they are equal, and of an index and a dense row that row's entry at the index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp

from gecko_jax.privacy.per_example.plan import Site
from gecko_jax.privacy.per_example.precision import products_of_sums
from gecko_jax.privacy.per_example.sites import (
    SiteGradients,
    at_least_float32,
    at_least_rounding,
    between_rows,
    dense_factors,
    from_gradients,
    gram,
    max_magnitude,
    sum_over_finite,
    with_rounded_sums,
)
from gecko_jax.privacy.per_example.table_site import equal_indices, rows_by_index
from gecko_jax.types import Array


class Factors(NamedTuple):
    """What the steps on one matrix [v, d] add to its gradient: rows at indices, and products left^T right.

    Attributes:
      index: [b, t] rows that are read; t may be 0.
      rows: [b, t, d] what is added there.
      left, right: [b, s, v] and [b, s, d]; s may be 0.
    """

    index: Array
    rows: Array
    left: Array
    right: Array


def shared_matrix(
    sites: Sequence[Site], transposed: Sequence[bool], weight: Array, saved: Sequence[Array], backs: Sequence[Array]
) -> SiteGradients | None:
    """The rule for one matrix in several steps: rows by index, and products with it or with its transpose.

    Args:
      sites: gathers and products.
      transposed: for each, whether its weight is the transposed matrix.
      weight: the matrix, [v, d].
      saved, backs: for each, its inputs and the cotangents of its outputs, [b, ...].
    """
    factors = _factors(sites, transposed, weight, saved, backs)
    if factors is None:
        return None
    (v, d), t, s = weight.shape, factors.index.shape[1], factors.left.shape[1]
    if 2 * ((t + s) ** 2 * d + s**2 * v) + 60 * (t + s) * d < 40 * v * d:  # as of `sites.ghost_is_cheaper`
        return SiteGradients(_squared(factors), lambda each, is_finite: _weighted(factors, each, is_finite))
    return _formed(factors, v, d)


def _formed(factors: Factors, v: int, d: int) -> SiteGradients:
    """The gradients themselves, by the cheaper of two ways to write the product; see `sites.outer`."""
    index, rows, left, right = factors
    each = jnp.arange(len(index))[:, None]
    if d <= v:
        return from_gradients((jnp.swapaxes(right, 1, 2) @ left).at[each, :, index].add(rows), jnp.transpose)
    return from_gradients((jnp.swapaxes(left, 1, 2) @ right).at[each, index].add(rows))


def _factors(sites, transposed, weight: Array, saved, backs) -> Factors | None:
    (v, d), b = weight.shape, len(saved[0])
    indexed: list[tuple[Array, Array]] = [(jnp.zeros((b, 0), jnp.int32), jnp.zeros((b, 0, d)))]
    products: list[tuple[Array, Array]] = [(jnp.zeros((b, 0, v)), jnp.zeros((b, 0, d)))]
    for site, is_transposed, values, back in zip(sites, transposed, saved, backs, strict=True):
        if site.step.name == "gather" and site.weights == (0,) and not is_transposed:
            rows = rows_by_index(site, weight.shape, values, back)
            if rows is None:
                return None
            indexed.append(rows)
        elif site.step.name == "dot_general" and (pair := dense_factors(site, values, back)):
            contract = site.step.params["dimension_numbers"][0][0 if site.weights == (0,) else 1]
            if len(contract) != 1:
                return None
            over_rows = (contract[0] == 0) != is_transposed  # the data multiply the matrix's first axis
            left, right = pair if over_rows else pair[::-1]
            products.append((at_least_float32(left), at_least_float32(right)))
        else:
            return None
    joined = [jnp.concatenate(column, axis=1) for pairs in (indexed, products) for column in zip(*pairs, strict=True)]
    return Factors(*joined)


def _squared(factors: Factors) -> Array:
    """Sums <l, l'> <r, r'> over pairs of rows, [b]."""
    index, rows, left, right = factors
    of_left = max_magnitude(left, (2,))  # a row of left may be 1e-20 and its partner 1e20: scaled before squaring
    left = left / of_left
    right = jnp.concatenate([rows, right * of_left], axis=1)
    of_all = max_magnitude(right, (1, 2))
    equal = equal_indices(index).astype(left.dtype)
    across = jnp.take_along_axis(left, index[:, None, :], axis=2)  # [b, s, t]
    of_products = gram(left)
    lengths = jnp.sqrt(jnp.diagonal(of_products, axis1=1, axis2=2))[:, :, None]

    def all_pairs(across, of_products):
        upper = jnp.concatenate([equal, jnp.swapaxes(across, 1, 2)], axis=2)
        return jnp.concatenate([upper, jnp.concatenate([across, of_products], axis=2)], axis=1)

    of_rights = gram(right / of_all)
    bounds = all_pairs(jnp.broadcast_to(lengths, across.shape), between_rows(of_products)) * between_rows(of_rights)
    squared = with_rounded_sums(at_least_rounding(all_pairs(across, of_products) * of_rights, bounds), bounds)
    return jnp.square(of_all[:, 0, 0]) * squared


def _weighted(factors: Factors, each: Array, is_finite: Array) -> Array:
    """Sums factor * gradient over the finite examples, [v, d]."""
    index, rows, left, right = factors

    def add_up(index, rows, left, right):
        precision = products_of_sums().precision
        total = jnp.matmul(left.reshape(-1, left.shape[-1]).T, right.reshape(-1, right.shape[-1]), precision=precision)
        return total.at[index.reshape(-1)].add(rows.reshape(-1, rows.shape[-1]))

    each = each[:, None, None]
    return sum_over_finite(is_finite, add_up, index, each * rows, left, each * right)
