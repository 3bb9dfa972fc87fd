"""The rule for a convolution's kernel: its per-example gradients are products over windows.

Any number of spatial axes, strides, dilated kernels, groups and axis orders. XLA's own per-example kernel gradient is a
grouped convolution, which is several times slower on a CPU.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from gecko_jax.convolutions import channels_last, stacked_patches
from gecko_jax.privacy.per_example.plan import Site
from gecko_jax.privacy.per_example.sites import SiteGradients, outer
from gecko_jax.types import Array


def convolution(site: Site, weight: Array, saved: Array, back: Array) -> SiteGradients | None:
    """The gradients of a convolution's kernel whose input is the data; None for a transposed convolution.

    Args:
      site: the convolution.
      weight: its kernel.
      saved: inputs [b, ...], each as the convolution takes it (with its own batch axis, of length 1 as a rule).
      back: cotangents of its outputs, [b, ...].
    """
    params = site.step.params
    pads = params["padding"]
    dilated_inside = any(d != 1 for d in params["lhs_dilation"]) or params["batch_group_count"] != 1
    if site.weights != (1,) or dilated_inside or any(low < 0 or high < 0 for low, high in pads):
        return None
    numbers, groups = params["dimension_numbers"], params["feature_group_count"]
    x = jnp.transpose(saved, (0, *(axis + 1 for axis in channels_last(numbers.lhs_spec))))
    g = jnp.transpose(back, (0, *(axis + 1 for axis in channels_last(numbers.out_spec))))
    kernel = tuple(weight.shape[axis] for axis in numbers.rhs_spec[2:])
    x = jnp.pad(x, ((0, 0), (0, 0), *pads, (0, 0)))
    windows = stacked_patches(x, kernel, params["window_strides"], params["rhs_dilation"])
    b, images, places, size, channels = windows.shape
    inputs, outputs = channels // groups, g.shape[-1] // groups
    a = windows.reshape(b, images * places, size, groups, inputs)
    a = jnp.moveaxis(a, 3, 1).reshape(b * groups, images * places, size * inputs)
    g = jnp.moveaxis(g.reshape(b, images * places, groups, outputs), 2, 1).reshape(b * groups, -1, outputs)
    return _grouped(outer(a, g), groups, (*kernel, inputs, outputs), numbers.rhs_spec)


def _grouped(found: SiteGradients, groups: int, shape: tuple[int, ...], spec: tuple[int, ...]) -> SiteGradients:
    """Joins rows [b * groups] to rows [b], and reshapes sums over all rows to the kernel's own shape."""
    order = (*spec[2:], spec[1], spec[0])  # where the kernel keeps (spatial..., inputs, outputs)
    back = [order.index(axis) for axis in range(len(order))]
    if groups == 1:
        return found._replace(
            weighted=lambda factors, is_finite: jnp.transpose(found.weighted(factors, is_finite).reshape(shape), back)
        )
    squared = found.squared.reshape(-1, groups)

    def weighted(factors, is_finite):
        def of(group):
            chosen = jnp.tile(jnp.arange(groups) == group, len(factors))
            total = found.weighted(jnp.where(chosen, jnp.repeat(factors, groups), 0), jnp.repeat(is_finite, groups))
            return total.reshape(shape)

        each = lax.map(of, jnp.arange(groups))
        return jnp.transpose(jnp.concatenate(list(each), axis=-1), back)

    return SiteGradients(jnp.sum(squared, axis=1), weighted)
