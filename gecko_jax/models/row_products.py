"""The product of rows with a weight matrix, over all leading axes at once."""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
from jax import lax

from gecko_jax.types import Array


def row_products(x: Array, kernel: Array, dimension_numbers: Any, precision: Any = None, **options: Any) -> Array:
    """Multiplies the last axis of x [..., d] by a kernel [d, p], as one product of two matrices.

    The same numbers as `lax.dot_general`, to whose place in `nn.Dense(dot_general=...)` it goes. The difference is in
    the kernel's gradient, a sum over all rows: over two axes, [batch, steps], XLA's CPU backend takes up to five times
    as long as over one.

    Args:
      x: [..., d].
      kernel: [d, p].
      dimension_numbers, precision, **options: of `lax.dot_general`; numbers of another product are passed on to it.

    Returns:
      [..., p].

    >>> import jax.numpy as jnp
    >>> x, kernel = jnp.ones((2, 3, 4)), jnp.ones((4, 5))
    >>> row_products(x, kernel, (((2,), (0,)), ((), ()))).shape
    (2, 3, 5)
    """
    options = {"precision": precision, **options}
    if kernel.ndim != 2 or dimension_numbers != (((x.ndim - 1,), (0,)), ((), ())):
        return lax.dot_general(x, kernel, dimension_numbers, **options)
    rows = lax.dot_general(x.reshape(-1, x.shape[-1]), kernel, (((1,), (0,)), ((), ())), **options)
    return rows.reshape(*x.shape[:-1], kernel.shape[1])


Dense = functools.partial(nn.Dense, dot_general=row_products)
