"""The norms and the weighted sum of one site's per-example gradients: by a local derivative, or by a shorter rule.

The rule of a site takes what the site saved of each example and the cotangents of its output. It returns the squared
norm of each example's weight gradient, and a function that sums these gradients with weights. A rule may do so without
forming any per-example gradient; the local derivative (`instantiate`), which is right for every primitive, forms them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gecko_jax import devices
from gecko_jax.privacy.per_example.graph import is_float
from gecko_jax.privacy.per_example.plan import Site
from gecko_jax.privacy.per_example.precision import products_of_sums
from gecko_jax.privacy.per_example.rows import branches_block, shared
from gecko_jax.programs import read, run_step
from gecko_jax.types import Array

# A sum of inner products is never taken for less than this share of the sum of its terms' magnitudes: a hundred
# roundings of float32. It is off by about one rounding, and by four at most, of sums of up to 4096 products.
MIN_RELATIVE_SUM = 1e-5
SUM_ROUNDING = 4 * 2.0**-24


class SiteGradients(NamedTuple):
    """The gradients of one weight, one for each example, without the array that holds them all.

    Attributes:
      squared: [b] squared norm of each example's gradient of the weight.
      weighted: (factors [b], is_finite [b] bool) -> sum of factor * gradient over the finite examples, in
        the weight's shape.
      formed: whether the array that holds them all is made after all.
    """

    squared: Array
    weighted: Callable[[Array, Array], Array]
    formed: bool = False


def outputs(site: Site, plain: dict[int, Array]) -> Callable[[Sequence[Array], Sequence[Array]], list[Array]]:
    """Returns (weights, saved inputs of one example) -> float outputs; `plain` are values that need no gradient."""

    def run(weights, saved):
        values = {**dict(zip(site.weights, weights, strict=True)), **dict(zip(site.saved, saved, strict=True))}
        inputs = [values[i] if i in values else read(plain, value) for i, value in enumerate(site.step.inputs)]
        results = zip(run_step(site.step, inputs), site.step.avals, strict=True)
        return [result for result, aval in results if is_float(aval)]

    return run


def instantiate(site: Site, plain: dict[int, Array], weights, saved, cotangents) -> list[Array]:
    """Computes each example's gradient of each of the site's weights, [b, ...]: right for every primitive."""
    run = outputs(site, plain)

    def one(example, back):
        return jax.vjp(lambda weights: run(weights, example), list(weights))[1](back)[0]

    return jax.vmap(one)(list(saved), list(cotangents))


def at_least_float32(x: Array) -> Array:
    """Casts half precision to float32: half would round a norm by more than its bound allows."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def squares(x: Array) -> Array:
    """Sums squares over all axes but the first, [b]."""
    return jnp.sum(jnp.square(at_least_float32(x).reshape(len(x), -1)), axis=1)


def max_magnitude(x: Array, axes: tuple[int, ...]) -> Array:
    """Returns max |x| over `axes` (kept as length 1), at least the smallest normal float: x over it can be squared."""
    return jnp.maximum(jnp.max(jnp.abs(x), axis=axes, keepdims=True), jnp.finfo(x.dtype).tiny)


def gram(x: Array) -> Array:
    """Computes the inner products of each example's rows, [b, t, d] -> [b, t, t], at full precision."""
    return jnp.matmul(x, jnp.swapaxes(x, 1, 2), precision=lax.Precision.HIGHEST)


def between_rows(products: Array) -> Array:
    """Bounds inner products [b, t, t] by the products of the rows' lengths."""
    lengths = jnp.sqrt(jnp.diagonal(products, axis1=1, axis2=2))
    return lengths[:, :, None] * lengths[:, None, :]


def at_least_rounding(products: Array, bounds: Array) -> Array:
    """Sums products [b, t, t], and overestimates the sum by its rounding if its terms cancel.

    t rows of random directions leave 1/t of the bounds. If an eighth of that is left or less, rounding would show in
    the norm, and is added. If MIN_RELATIVE_SUM is left, the sum may be computed as 0 although the gradient is not 0: it
    is taken for no less. An example is then clipped too much, never too little.
    """
    total, bound = jnp.sum(products, axis=(1, 2)), jnp.sum(bounds, axis=(1, 2))
    total = jnp.where(total < bound / (8 * products.shape[1]), total + SUM_ROUNDING * bound, total)
    return jnp.maximum(total, MIN_RELATIVE_SUM * bound)


def with_rounded_sums(squared: Array, bounds: Array | None = None) -> Array:
    """Raises squared norms [b] by what the products of the sum may round: see `precision`.

    Args:
      squared: [b].
      bounds: products of the rows' lengths, [b, t, t], whose sum is (sum_t |a_t| |c_t|)^2; None if there is one row.
    """
    rounding = products_of_sums().rounding
    if not rounding:
        return squared
    if bounds is None:
        return squared * (1 + rounding) ** 2
    return jnp.square(jnp.sqrt(squared) + rounding * jnp.sqrt(jnp.sum(bounds, axis=(1, 2))))


def sum_over_finite(is_finite: Array, product: Callable[..., Array], *rows: Array) -> Array:
    """Computes product(*rows), a sum over the rows' leading axis [b], without the rows that are not finite.

    A factor of 0 is not enough, because 0 * NaN is NaN. Cleaning copies the largest arrays there are, and is rarely
    needed: so it stands in a branch, except where a branch blocks the device for longer than the copy takes.
    """

    def clean(x):
        return jnp.where(is_finite.reshape(-1, *(1,) * (x.ndim - 1)), x, 0)

    if branches_block():
        return product(*map(clean, rows))
    return lax.cond(shared(jnp.sum(~is_finite)) == 0, lambda: product(*rows), lambda: product(*map(clean, rows)))


def from_gradients(gradients: Array, finish: Callable[[Array], Array] = lambda total: total) -> SiteGradients:
    """Wraps gradients [b, ...] that were formed; finish(their sum) has the weight's shape."""
    flat = at_least_float32(gradients).reshape(len(gradients), -1)

    def weighted(factors, is_finite):
        return finish(sum_over_finite(is_finite, sum_of_rows, factors, flat).reshape(gradients.shape[1:]))

    return SiteGradients(squares(gradients), weighted, formed=True)


def sum_of_rows(factors: Array, rows: Array) -> Array:
    """Sums factor * row, [b] and [b, d] -> [d], in float32: on an accelerator a product would be rounded to less."""
    if devices.is_accelerator():
        return jnp.sum(factors[:, None] * rows, axis=0)
    return jnp.matmul(factors, rows)


def ghost_is_cheaper(t: int, d: int, p: int) -> bool:
    """Tells whether the ghost norm of t rows costs less than forming a [d, p] gradient, beyond what both have to do.

    The ghost norm adds two products of t x t and some passes over the rows. A gradient that is formed is written and
    read once more. Moving a number costs as much as some 20 multiplications, and small products run at half speed.
    """
    return 2 * t * t * (d + p) + 60 * t * d < 40 * d * p


def outer(a: Array, g: Array) -> SiteGradients:
    """The gradients sum_t a[t] g[t]^T of a matrix: a [b, t, d], g [b, t, p].

    One t: |a|^2 |g|^2. A few: the ghost norm <a a^T, g g^T> (Goodfellow 2015; Li et al. 2022, eq. 5). Many: the
    gradients themselves are formed, and summed.
    """
    b, t, d = a.shape
    p = g.shape[-1]
    if t > 1 and not ghost_is_cheaper(t, d, p):
        # A product with fewer rows than columns takes XLA's CPU backend half as long as its transpose.
        if d <= p:
            return from_gradients(jnp.swapaxes(a, 1, 2) @ g)
        return from_gradients(jnp.swapaxes(g, 1, 2) @ a, jnp.transpose)
    # Only their product is the gradient: a may be 1e-20 while g is 1e20, and neither can be squared as it is.
    a, g = at_least_float32(a), at_least_float32(g)
    of_a = max_magnitude(a, (2,))
    if t == 1:
        of_g = max_magnitude(g, (2,))
        of_all, squared = of_a * of_g, squares(a / of_a) * squares(g / of_g)
        squared = with_rounded_sums(squared)
    else:
        scaled = g * of_a
        of_all = max_magnitude(scaled, (1, 2))
        of_rows, of_backs = gram(a / of_a), gram(scaled / of_all)
        products, bounds = of_rows * of_backs, between_rows(of_rows) * between_rows(of_backs)
        squared = with_rounded_sums(at_least_rounding(products, bounds), bounds)
    squared = jnp.square(of_all[:, 0, 0]) * squared

    def weighted(factors, is_finite):
        def product(a, g):
            return jnp.matmul(a.reshape(-1, d).T, g.reshape(-1, p), precision=products_of_sums().precision)

        return sum_over_finite(is_finite, product, a, factors[:, None, None] * g)

    return SiteGradients(squared, weighted)


def dense_factors(site: Site, saved: Array, back: Array) -> tuple[Array, Array] | None:
    """Returns (a [b, t, d], g [b, t, p]) of a product with one weight matrix; None for any other product."""
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
    """Reshapes a sum [d, p], as `outer` returns it, to the shape of the site's weight."""
    contract = site.step.params["dimension_numbers"][0][0 if site.weights == (0,) else 1]
    free = [axis for axis in range(len(shape)) if axis not in contract]
    order = (*contract, *free)
    return jnp.transpose(total.reshape([shape[axis] for axis in order]), [order.index(i) for i in range(len(shape))])


def dense(sites: Sequence[Site], weight: Array, saved: Sequence[Array], backs: Sequence[Array]) -> SiteGradients | None:
    """The rule for one weight in one or several products of the same form, such as a layer that is called twice."""
    forms = {(str(site.step.params["dimension_numbers"]), site.weights) for site in sites}
    if len(forms) != 1:
        return None
    factors = [dense_factors(*each) for each in zip(sites, saved, backs, strict=True)]
    if any(each is None for each in factors):
        return None
    a, g = (jnp.concatenate(column, axis=1) if len(column) > 1 else column[0] for column in zip(*factors, strict=True))
    gradients = outer(a, g)

    def weighted(factors, is_finite):
        return dense_gradient(sites[0], gradients.weighted(factors, is_finite), weight.shape)

    return gradients._replace(weighted=weighted)
