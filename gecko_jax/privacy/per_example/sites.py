"""What one site adds to per-example gradients: for any step by a local derivative, for some by a shorter way.

A finder of a site takes what it saved of each example and the cotangent of its output, and gives the squared norm of
each example's weight gradient with the means to sum them weighted, without or with these gradients being made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gecko_jax.privacy.per_example.graph import is_float
from gecko_jax.privacy.per_example.plan import Site
from gecko_jax.privacy.per_example.rows import shared
from gecko_jax.programs import read, run_step
from gecko_jax.types import Array

# Of the squared length of terms that a sum of inner products is trusted to: a hundred roundings of float32.
CANCELLED = 1e-5


class Found(NamedTuple):
    """Attributes:
    squared: [b] squared norm of each example's gradient of the weight.
    weighted: (factors [b], fine [b] bool) -> sum of factor * gradient over the fine examples, in the weight's shape.
    """

    squared: Array
    weighted: Callable[[Array, Array], Array]


def outputs(site: Site, plain: dict[int, Array]) -> Callable[[Sequence[Array], Sequence[Array]], list[Array]]:
    """(weights, saved inputs of one example) -> the step's float outputs; `plain` are values without a gradient."""

    def run(weights, saved):
        values = {**dict(zip(site.weights, weights, strict=True)), **dict(zip(site.saved, saved, strict=True))}
        given = [values[i] if i in values else read(plain, value) for i, value in enumerate(site.step.inputs)]
        return [made for made, aval in zip(run_step(site.step, given), site.step.avals, strict=True) if is_float(aval)]

    return run


def instantiate(site: Site, plain: dict[int, Array], weights, saved, cotangents) -> list[Array]:
    """Each example's gradient of each of the site's weights, [b, ...]: right for every primitive."""
    run = outputs(site, plain)

    def one(example, back):
        return jax.vjp(lambda given: run(given, example), list(weights))[1](back)[0]

    return jax.vmap(one)(list(saved), list(cotangents))


def single(x: Array) -> Array:
    """x in single precision at least: half would round a norm by more than the bound on it allows."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def squares(x: Array) -> Array:
    """Sum of squares over all but the first axis, [b]."""
    return jnp.sum(jnp.square(single(x).reshape(len(x), -1)), axis=1)


def largest(x: Array, axes: tuple[int, ...]) -> Array:
    """The largest magnitude over `axes`, which are kept, or the least float: x over it has squares of a fair size."""
    return jnp.maximum(jnp.max(jnp.abs(x), axis=axes, keepdims=True), jnp.finfo(x.dtype).tiny)


def inner(x: Array) -> Array:
    """Inner products of each example's rows, [b, t, d] -> [b, t, t]; in full precision where the default is less."""
    return jnp.matmul(x, jnp.swapaxes(x, 1, 2), precision=lax.Precision.HIGHEST)


def between_rows(products: Array) -> Array:
    """What inner products [b, t, t] are at most: the products of the rows' lengths."""
    lengths = jnp.sqrt(jnp.diagonal(products, axis1=1, axis2=2))
    return lengths[:, :, None] * lengths[:, None, :]


def not_cancelled(products: Array, bounds: Array) -> Array:
    """Sum of products [b, t, t], but no less than their rounding: CANCELLED times the sum of their bounds.

    Where terms cancel, only rounding is left, which may be 0 for a gradient that is not. Such a norm is told too long,
    so that no example is clipped too little.
    """
    return jnp.maximum(jnp.sum(products, axis=(1, 2)), CANCELLED * jnp.sum(bounds, axis=(1, 2)))


def over_fine(fine: Array, product: Callable[..., Array], *rows: Array) -> Array:
    """product(*rows), a sum over the rows' leading axis [b], without those rows that are not fine.

    A factor of 0 would leave NaN at NaN. Cleaning copies the largest arrays there are, and is hardly ever needed.
    """
    clean = lambda x: jnp.where(fine.reshape(-1, *(1,) * (x.ndim - 1)), x, 0)  # noqa: E731
    return lax.cond(shared(jnp.sum(~fine)) == 0, lambda: product(*rows), lambda: product(*map(clean, rows)))


def kept(gradients: Array, finish: Callable[[Array], Array] = lambda total: total) -> Found:
    """From gradients [b, ...] that are made and kept; finish(their sum) has the weight's shape."""
    flat = single(gradients).reshape(len(gradients), -1)

    def weighted(factors, fine):
        return finish(over_fine(fine, jnp.matmul, factors, flat).reshape(gradients.shape[1:]))

    return Found(squares(gradients), weighted)


def ghost_is_cheaper(t: int, d: int, p: int) -> bool:
    """Whether the ghost norm of t rows costs less than making a [d, p] gradient, beyond what both have to do.

    The ghost norm adds two products of t x t and some passes over the rows; a gradient that is made and kept is written
    and read once more. A number moved costs as much as some 20 multiplications, and small products run at half speed.
    """
    return 2 * t * t * (d + p) + 60 * t * d < 40 * d * p


def outer(a: Array, g: Array) -> Found:
    """From gradients sum_t a[t] g[t]^T of a matrix: a [b, t, d], g [b, t, p].

    One t: |a|^2 |g|^2. Few: the ghost norm <a a^T, g g^T> (Goodfellow 2015; Li et al. 2022, eq. 5). Many: the gradients
    themselves, which are then also what is summed.
    """
    b, t, d = a.shape
    p = g.shape[-1]
    if t > 1 and not ghost_is_cheaper(t, d, p):
        return kept(jnp.swapaxes(g, 1, 2) @ a, jnp.transpose)  # [p, d]: the smaller factor is the one turned around
    # The gradient is their product alone: a may be 1e-20 where g is 1e20, and neither can be squared as it is.
    a, g = single(a), single(g)
    of_a = largest(a, (2,))
    if t == 1:
        of_g = largest(g, (2,))
        of_all, squared = of_a * of_g, squares(a / of_a) * squares(g / of_g)
    else:
        scaled = g * of_a
        of_all = largest(scaled, (1, 2))
        of_rows, of_backs = inner(a / of_a), inner(scaled / of_all)
        squared = not_cancelled(of_rows * of_backs, between_rows(of_rows) * between_rows(of_backs))
    squared = jnp.square(of_all[:, 0, 0]) * squared

    def weighted(factors, fine):
        product = lambda a, g: a.reshape(-1, d).T @ g.reshape(-1, p)  # noqa: E731
        return over_fine(fine, product, a, factors[:, None, None] * g)

    return Found(squared, weighted)


def dense_factors(site: Site, saved: Array, back: Array) -> tuple[Array, Array] | None:
    """(a [b, t, d], g [b, t, p]) of a product with one weight matrix, or None where it is no such product."""
    (contract_left, contract_right), batch = site.step.params["dimension_numbers"]
    if any(batch) or len(site.saved) != 1:
        return None
    on_right = site.weights == (1,)
    contracted = contract_left if on_right else contract_right
    axes = [axis for axis in range(saved.ndim - 1) if axis not in contracted]
    a = jnp.transpose(saved, (0, *(axis + 1 for axis in axes), *(axis + 1 for axis in contracted)))
    rows = math.prod(saved.shape[axis + 1] for axis in axes)
    a = a.reshape(len(saved), rows, -1)
    if on_right:
        return a, back.reshape(len(back), rows, -1)
    return a, jnp.swapaxes(back.reshape(len(back), -1, rows), 1, 2)


def dense_gradient(site: Site, total: Array, shape: tuple[int, ...]) -> Array:
    """A sum [d, p] as `outer` makes it in the shape of the site's weight."""
    contract = site.step.params["dimension_numbers"][0][0 if site.weights == (0,) else 1]
    free = [axis for axis in range(len(shape)) if axis not in contract]
    order = (*contract, *free)
    return jnp.transpose(total.reshape([shape[axis] for axis in order]), [order.index(i) for i in range(len(shape))])


def dense(sites: Sequence[Site], weight: Array, saved: Sequence[Array], backs: Sequence[Array]) -> Found | None:
    """One weight in one or several products of the same form, such as a layer that is called twice."""
    forms = {(str(site.step.params["dimension_numbers"]), site.weights) for site in sites}
    if len(forms) != 1:
        return None
    factors = [dense_factors(*each) for each in zip(sites, saved, backs, strict=True)]
    if any(each is None for each in factors):
        return None
    a, g = (jnp.concatenate(column, axis=1) if len(column) > 1 else column[0] for column in zip(*factors, strict=True))
    found = outer(a, g)
    return found._replace(
        weighted=lambda factors, fine: dense_gradient(sites[0], found.weighted(factors, fine), weight.shape)
    )


def as_index(index: Array, size: int) -> Array:
    """Integers of any dtype as int32; those outside of 0..size-1 stay outside, on their side.

    A uint8 cannot be compared with 256 rows, nor an int8 with 128: JAX would take the number of rows in the narrow
    dtype, where it wraps around or raises. What is wider than int32 is cut first.
    """
    if jnp.iinfo(index.dtype).max > jnp.iinfo(jnp.int32).max:
        index = jnp.clip(index, -1 if jnp.issubdtype(index.dtype, jnp.signedinteger) else 0, size)
    return index.astype(jnp.int32)


def embedding(site: Site, weight: Array, saved: Array, back: Array) -> Found | None:
    """Rows of a table by index: |gradient|^2 = sum over pairs of positions with equal index of <g, g'>."""
    numbers, mode = site.step.params["dimension_numbers"], site.step.params["mode"]
    whole = (1, *weight.shape[1:])
    plain = numbers.collapsed_slice_dims == (0,) and numbers.start_index_map == (0,)
    trailing = numbers.offset_dims == tuple(range(back.ndim - 1 - weight.ndim + 1, back.ndim - 1))
    if site.saved != (1,) or not (plain and trailing and tuple(site.step.params["slice_sizes"]) == whole):
        return None
    index = as_index(saved.reshape(len(saved), -1), len(weight))
    g = single(back).reshape(*index.shape, -1)
    inside = (index >= 0) & (index < len(weight))
    if mode == lax.GatherScatterMode.CLIP:
        index = jnp.clip(index, 0, len(weight) - 1)
    else:
        g = jnp.where(inside[..., None], g, 0)
    equal = index[:, :, None] == index[:, None, :]
    products = inner(g)
    squared = not_cancelled(jnp.where(equal, products, 0), jnp.where(equal, between_rows(products), 0))

    def add_up(index, g):
        table = jnp.zeros((len(weight), g.shape[-1]), g.dtype)
        return table.at[index.reshape(-1)].add(g.reshape(-1, g.shape[-1])).reshape(weight.shape)

    def weighted(factors, fine):
        return over_fine(fine, add_up, index, factors[:, None, None] * g)

    return Found(squared, weighted)
