"""Counts what one example has in memory, and chooses how many are computed at a time on a CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gecko_jax.convolutions import SCOPE
from gecko_jax.privacy.per_example import graph as graphs
from gecko_jax.privacy.per_example.looped import is_convolution, with_windows
from gecko_jax.privacy.per_example.plan import Plan, plan
from gecko_jax.trees import example_shapes

MAX_FLOATS = 2**26  # at a time: beyond it all is memory traffic, and a loop over smaller parts is faster
MAX_FLOATS_OF_WINDOWS = 2**21  # with a convolution's windows as factors on a CPU, whose cache they should fit
MIN_FLOATS_PER_PARAMETER = 8  # work enough in each microbatch to hide the addition of its sums to the total
MAX_FLOATS_OF_CONVOLUTIONS = 2**29  # with XLA's own CPU convolutions, which a loop makes several times slower: 2 GiB


class Floats(NamedTuple):
    """What one example's book-keeping has in memory.

    Attributes:
      count: all values of the forward pass, and at sites the cotangents and a convolution's windows.
      convolutions: whether there are XLA's convolutions among its steps.
      windows: whether there are products over windows.
    """

    count: int
    convolutions: bool
    windows: bool


def _arrays(graph: graphs.Graph, planned: Plan) -> Iterator[tuple[int, Any]]:
    """Yields (numbers, dtype) of each array that one example's book-keeping has in memory."""
    for step in planned.inside:
        yield from ((math.prod(aval.shape), aval.dtype) for aval in step.avals)
    for site in planned.sites:
        yield from ((math.prod(aval.shape), aval.dtype) for aval in site.step.avals)
        kernel_number = site.step.inputs[1] if is_convolution(site.step) else None
        if isinstance(kernel_number, int):
            kernel = graph.avals[kernel_number]
            spec = site.step.params["dimension_numbers"]
            places = [site.step.avals[0].shape[axis] for axis in (spec.out_spec[0], *spec.out_spec[2:])]
            yield math.prod(places) * math.prod(kernel.shape) // kernel.shape[spec.rhs_spec[0]], kernel.dtype


def _planned(function: Callable[..., Any], params: Any, examples: Any) -> tuple[graphs.Graph, Plan]:
    graph, _ = graphs.trace(function, params, example_shapes(examples))
    return graph, plan(graph)


def floats_of_one(function: Callable[..., Any], params: Any, examples: Any) -> Floats:
    """Counts the floats of one example; arguments as of `bookkeeping.bookkeep`."""
    graph, planned = _planned(function, params, examples)
    total = sum(numbers for numbers, _ in _arrays(graph, planned))
    has_windows = any(SCOPE in step.scope for step in planned.inside)
    return Floats(total, any(is_convolution(step) for step in planned.inside), has_windows)


def bytes_of_one(function: Callable[..., Any], params: Any, examples: Any) -> int:
    """Counts the bytes of one example, without gradients that are formed; arguments as of `bookkeeping.bookkeep`."""
    return sum(numbers * dtype.itemsize for numbers, dtype in _arrays(*_planned(function, params, examples)))


def power_of_two(most: int, size: int) -> int:
    """Returns `size` if it is at most `most`, else the largest power of two that is, at least 1."""
    most = max(most, 1)
    return size if most >= size else 2 ** (most.bit_length() - 1)


def microbatch_of(function: Callable[..., Any], params: Any, examples: Any, size: int) -> int:
    """Returns the examples at a time on a CPU: all if they fit the budget, else the largest power of two that does.

    It is that of the loss with its convolutions as products over windows, if they can be (`looped`).
    """
    floats, budget = floats_of_one(function, params, examples), MAX_FLOATS
    if floats.convolutions:
        floats = floats_of_one(with_windows(function), params, examples)
    if floats.convolutions:
        budget = MAX_FLOATS_OF_CONVOLUTIONS
    elif floats.windows:
        numbers = sum(math.prod(jnp.shape(leaf)) for leaf in jax.tree.leaves(params))
        budget = max(MAX_FLOATS_OF_WINDOWS, MIN_FLOATS_PER_PARAMETER * numbers)
    return power_of_two(budget // max(floats.count, 1), size)
