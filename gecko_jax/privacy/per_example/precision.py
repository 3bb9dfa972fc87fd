"""The format of products: how exact they are, and what the rounding of a low format may add to an example's share.

Low formats cannot break the bound in the loss and its gradient: whatever they round, an example's gradient depends on
that example alone, and it is clipped as it is. They can in the sum, if a gradient is never formed there: its share is a
product of inputs a_t and cotangents c_t that are rounded once more, and if the rows' terms cancel, rounding does not.

So sums are in float32 unless a low format is asked for. Then each example's norm is raised by what rounding may add,
rounding * sum_t |a_t| |c_t|: the example is clipped more, and its share stays within the bound.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import NamedTuple

import jax
from jax import lax

from gecko_jax import devices

# Stored bits of a significand. A unit may cut a factor off instead of rounding it: by at most 2^-bits of its size.
STORED_BITS = {"tensorfloat32": 10, "bfloat16": 7}
PRECISIONS = ("float32", *STORED_BITS)


class Products(NamedTuple):
    """How the products of a clipped sum are computed.

    Attributes:
      precision: as `jnp.matmul` takes it.
      rounding: by at most this share of its size is a product of two numbers off; 0 if they are float32.
    """

    precision: lax.Precision | None
    rounding: float


_PRODUCTS: ContextVar[Products] = ContextVar("products of sums", default=Products(None, 0.0))  # noqa: B039


def products_of_sums() -> Products:
    """Returns how the clipped sum that is being traced computes its products."""
    return _PRODUCTS.get()


@contextlib.contextmanager
def computed_in(precision: str | None) -> Iterator[None]:
    """Computes a loss, its gradients and their clipped sum in a format, in whatever is traced within the block.

    Args:
      precision: one of PRECISIONS, which all products use. None: the loss and its gradients follow
        `jax.default_matmul_precision`, and the sum is in float32.
    """
    if precision is None:  # a CPU has no lower format, and its programs need not ask for float32
        products = Products(lax.Precision.HIGHEST if devices.is_accelerator() else None, 0.0)
    else:
        each = 2.0 ** -STORED_BITS[precision] if precision in STORED_BITS else 0.0
        products = Products(None, (1 + each) ** 2 - 1)
    token = _PRODUCTS.set(products)
    try:
        with jax.default_matmul_precision(precision) if precision else contextlib.nullcontext():
            yield
    finally:
        _PRODUCTS.reset(token)
