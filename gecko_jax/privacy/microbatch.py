"""How many examples are worked on at a time, from the numbers that one of them leaves in memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax

from gecko_jax.privacy import graph as graphs
from gecko_jax.privacy.plan import plan

BUDGET = 2**25  # floats held at a time: beyond it all is memory traffic, and a loop over smaller parts is faster
CONVOLUTIONS = 2**29  # the same where XLA's CPU convolutions are, which a loop makes several times slower: 2 GiB


def floats_of_one(function: Callable[..., Any], params: Any, examples: Any) -> tuple[int, bool]:
    """Numbers that one example's book-keeping holds, and whether there are convolutions among its steps.

    These are all values of the forward pass, and at sites the cotangents and a convolution's windows.

    Args:
      function, params, examples: see `bookkeeping.keep_books`.
    """
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), examples)
    graph, _ = graphs.trace(function, params, one)
    planned = plan(graph)
    total = sum(math.prod(aval.shape) for step in planned.inside for aval in step.avals)
    for site in planned.sites:
        total += sum(math.prod(aval.shape) for aval in site.step.avals)
        if site.step.primitive.name == "conv_general_dilated":
            kernel = graph.avals[site.step.inputs[1]].shape
            spec = site.step.params["dimension_numbers"]
            places = [site.step.avals[0].shape[axis] for axis in (spec.out_spec[0], *spec.out_spec[2:])]
            total += math.prod(places) * math.prod(kernel) // kernel[spec.rhs_spec[0]]
    return total, any(step.primitive.name == "conv_general_dilated" for step in planned.inside)


def microbatch_of(function: Callable[..., Any], params: Any, examples: Any, size: int) -> int:
    """Examples at a time: all of them if they fit the budget, else the largest power of two that does."""
    floats, convolutions = floats_of_one(function, params, examples)
    budget = CONVOLUTIONS if convolutions and jax.default_backend() == "cpu" else BUDGET
    fitting = max(budget // max(floats, 1), 1)
    return size if fitting >= size else 2 ** (fitting.bit_length() - 1)
