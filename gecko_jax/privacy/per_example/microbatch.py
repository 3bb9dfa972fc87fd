"""How many examples are worked on at a time, from the numbers that one of them leaves in memory."""

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

BUDGET = 2**25  # floats held at a time: beyond it all is memory traffic, and a loop over smaller parts is faster
WINDOWS = 2**21  # the same where windows of a convolution are products' factors on a CPU: they are to stay in its cache
PER_PARAMETER = 8  # but work enough in each turn that adding up the parameters' sums, once a turn, does not show
CONVOLUTIONS = 2**29  # where XLA's CPU convolutions are left, which a loop makes several times slower: 2 GiB


class Floats(NamedTuple):
    """What one example's book-keeping holds.

    Attributes:
      held: numbers: all values of the forward pass, and at sites the cotangents and a convolution's windows.
      convolutions: whether there are XLA's convolutions among its steps.
      windows: whether there are products over windows.
    """

    held: int
    convolutions: bool
    windows: bool


def floats_of_one(function: Callable[..., Any], params: Any, examples: Any) -> Floats:
    """Counts them; function, params, examples as of `bookkeeping.keep_books`."""
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), examples)
    graph, _ = graphs.trace(function, params, one)
    planned = plan(graph)
    total = sum(math.prod(aval.shape) for step in planned.inside for aval in step.avals)
    for site in planned.sites:
        total += sum(math.prod(aval.shape) for aval in site.step.avals)
        if is_convolution(site.step):
            kernel = graph.avals[site.step.inputs[1]].shape
            spec = site.step.params["dimension_numbers"]
            places = [site.step.avals[0].shape[axis] for axis in (spec.out_spec[0], *spec.out_spec[2:])]
            total += math.prod(places) * math.prod(kernel) // kernel[spec.rhs_spec[0]]
    has_windows = any(SCOPE in step.scope for step in planned.inside)
    return Floats(total, any(is_convolution(step) for step in planned.inside), has_windows)


def microbatch_of(function: Callable[..., Any], params: Any, examples: Any, size: int) -> int:
    """Examples at a time: all of them if they fit the budget, else the largest power of two that does.

    On a CPU it is that of the loss with its convolutions as products over windows, where they can be (`looped`).
    """
    found, budget = floats_of_one(function, params, examples), BUDGET
    if jax.default_backend() == "cpu":
        if found.convolutions:
            found = floats_of_one(with_windows(function), params, examples)
        if found.convolutions:
            budget = CONVOLUTIONS
        elif found.windows:
            numbers = sum(math.prod(jnp.shape(leaf)) for leaf in jax.tree.leaves(params))
            budget = max(WINDOWS, PER_PARAMETER * numbers)
    fitting = max(budget // max(found.held, 1), 1)
    return size if fitting >= size else 2 ** (fitting.bit_length() - 1)
