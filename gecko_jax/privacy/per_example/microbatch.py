"""Chooses how many examples are computed at a time, from the numbers that one of them leaves in memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gecko_jax.convolutions import SCOPE
from gecko_jax.privacy.per_example import graph as graphs
from gecko_jax.privacy.per_example.looped import is_convolution, with_windows
from gecko_jax.privacy.per_example.plan import plan
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


def floats_of_one(function: Callable[..., Any], params: Any, examples: Any) -> Floats:
    """Counts the floats of one example; arguments as of `bookkeeping.bookkeep`."""
    one = example_shapes(examples)
    graph, _ = graphs.trace(function, params, one)
    planned = plan(graph)
    total = sum(math.prod(aval.shape) for step in planned.inside for aval in step.avals)
    for site in planned.sites:
        total += sum(math.prod(aval.shape) for aval in site.step.avals)
        kernel_number = site.step.inputs[1] if is_convolution(site.step) else None
        if isinstance(kernel_number, int):
            kernel = graph.avals[kernel_number].shape
            spec = site.step.params["dimension_numbers"]
            places = [site.step.avals[0].shape[axis] for axis in (spec.out_spec[0], *spec.out_spec[2:])]
            total += math.prod(places) * math.prod(kernel) // kernel[spec.rhs_spec[0]]
    has_windows = any(SCOPE in step.scope for step in planned.inside)
    return Floats(total, any(is_convolution(step) for step in planned.inside), has_windows)


def microbatch_of(function: Callable[..., Any], params: Any, examples: Any, size: int) -> int:
    """Returns the examples at a time: all of them if they fit the budget, else the largest power of two that does.

    On a CPU it is that of the loss with its convolutions as products over windows, where they can be (`looped`).
    """
    floats, budget = floats_of_one(function, params, examples), MAX_FLOATS
    if jax.default_backend() == "cpu":
        if floats.convolutions:
            floats = floats_of_one(with_windows(function), params, examples)
        if floats.convolutions:
            budget = MAX_FLOATS_OF_CONVOLUTIONS
        elif floats.windows:
            numbers = sum(math.prod(jnp.shape(leaf)) for leaf in jax.tree.leaves(params))
            budget = max(MAX_FLOATS_OF_WINDOWS, MIN_FLOATS_PER_PARAMETER * numbers)
    fitting = max(budget // max(floats.count, 1), 1)
    return size if fitting >= size else 2 ** (fitting.bit_length() - 1)
