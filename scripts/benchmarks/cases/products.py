"""The matrix products of a training step, and how long they take alone: the floor under large layers.

A layer with a kernel takes three products: of its outputs, of its kernel's gradient and, unless it is the first, of its
inputs' gradient. A convolution's are those over its patches, which are not collected here. Winograd's and other
convolutions with fewer products could go below this floor. Calling a product costs a few microseconds, which count, so
that products of less than some 20 microseconds (the 64 small models') take less than this inside a program.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

SAMPLE = 0.01  # seconds that a product is repeated for


class Product(NamedTuple):
    """[rows, inner] @ [inner, columns]."""

    rows: int
    inner: int
    columns: int


def products(calls: Sequence[Any]) -> list[Product]:
    """The products of one step.

    Args:
      calls: `models.Call` of each layer, dense ones and convolutions of one group, in the order of the forward pass.
    """
    step = []
    for number, call in enumerate(calls):
        inner, columns = math.prod(call.kernel[:-1]), call.kernel[-1]
        rows = math.prod(call.output[:-1])
        step += [Product(rows, inner, columns), Product(inner, rows, columns)]
        if number > 0:
            step.append(Product(rows, columns, inner))
    return step


def alone(torch, calls: Sequence[Any], clock: Callable[[], float]) -> Callable[[], float]:
    """Builds a function that times one step's products, each in the faster of PyTorch's and XLA's; seconds.

    Args:
      torch: the module.
      calls: see `products`.
      clock: of CPU time.
    """
    import jax
    import jax.numpy as jnp

    multiply, ways = jax.jit(jnp.matmul), []
    for rows, inner, columns in products(calls):
        a, b, out = torch.randn(rows, inner), torch.randn(inner, columns), torch.empty(rows, columns)
        left, right = jnp.asarray(a.numpy()), jnp.asarray(b.numpy())
        by_torch = lambda a=a, b=b, out=out: torch.mm(a, b, out=out)  # noqa: E731
        by_xla = lambda a=left, b=right: multiply(a, b).block_until_ready()  # noqa: E731
        ways.append(min((by_torch, by_xla), key=lambda way: _seconds(way, clock)))
    return lambda: sum(_seconds(way, clock) for way in ways)


def _seconds(way: Callable[[], Any], clock: Callable[[], float]) -> float:
    """The median of repeated calls, the first not counted."""
    way()
    ends = time.perf_counter() + SAMPLE
    seconds = []
    while len(seconds) < 3 or time.perf_counter() < ends:
        start = clock()
        way()
        seconds.append(clock() - start)
    return statistics.median(seconds)
