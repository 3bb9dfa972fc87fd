"""Finds where parameters meet data in a graph, and which rule gives each parameter's per-example gradients.

A site is a step that mixes values made of parameters alone (its weights) with data. Connected parameters and sites form
a part. A part of one parameter that reaches one kind of site unchanged has a rule of its own, and so has one of a
matrix that reaches several kinds of sites, transposed or not: a tied embedding. Every other part takes the generic one:
quantized or standardized weights, normalizations, loops.
"""

from __future__ import annotations

from typing import NamedTuple, TypeGuard

from gecko_jax.privacy.per_example.graph import Graph, is_float
from gecko_jax.programs import Constant, Step, needed

# A parameter that has only passed through these has the same numbers in another shape, and the same norm.
SAME_NUMBERS = {"reshape", "transpose", "squeeze", "expand_dims", "copy", "copy_p"}


class Site(NamedTuple):
    """A step that mixes parameters with data.

    Attributes:
      step: the step.
      weights: positions of its inputs that depend on parameters alone and have a gradient.
      saved: positions of its inputs that depend on data.
      weight_numbers, saved_numbers: the values at these positions, by their numbers in the graph.
    """

    step: Step
    weights: tuple[int, ...]
    saved: tuple[int, ...]
    weight_numbers: tuple[int, ...]
    saved_numbers: tuple[int, ...]


class Part(NamedTuple):
    """Connected parameters and sites, which no other part shares.

    Attributes:
      params: positions among the graph's parameters.
      sites: positions among the plan's sites.
      direct: whether one parameter reaches all sites as one value, unchanged up to its shape.
      transposed: of one matrix that reaches each site as it is (False) or transposed (True), for each site; else empty.
    """

    params: tuple[int, ...]
    sites: tuple[int, ...]
    direct: bool
    transposed: tuple[bool, ...] = ()


class Plan(NamedTuple):
    """How a graph is computed for many examples.

    Attributes:
      outside: steps on parameters and constants alone, computed once for all examples.
      inside: steps that depend on data, computed for each example.
      sites: in the order of the steps.
      numbers: for each step of `inside` the position of its site; None if the step is not a site.
      parts: every parameter that the loss depends on is in exactly one.
    """

    outside: tuple[Step, ...]
    inside: tuple[Step, ...]
    sites: tuple[Site, ...]
    numbers: tuple[int | None, ...]
    parts: tuple[Part, ...]


def plan(graph: Graph) -> Plan:
    """Plans a graph whose loss depends on data."""
    live = needed(graph.steps, graph.outputs)
    outside = tuple(s for s in graph.steps if live & set(s.outputs) and not graph.mixed & set(s.outputs))
    inside = tuple(s for s in graph.steps if live & set(s.outputs) and graph.mixed & set(s.outputs))
    sites, numbers = [], []
    for step in inside:
        weights = {i: value for i, value in enumerate(step.inputs) if _is_weight(value, graph)}
        if not weights or not any(is_float(aval) for aval in step.avals):
            numbers.append(None)
            continue
        saved = {i: value for i, value in enumerate(step.inputs) if graph.depends_on_data(value)}
        numbers.append(len(sites))
        sites.append(Site(step, tuple(weights), tuple(saved), tuple(weights.values()), tuple(saved.values())))
    return Plan(outside, inside, tuple(sites), tuple(numbers), _parts(graph, outside, sites))


def _is_weight(value: int | Constant, graph: Graph) -> TypeGuard[int]:
    return graph.only_trained(value) and is_float(graph.avals[value])


def _parts(graph: Graph, outside: tuple[Step, ...], sites: list[Site]) -> tuple[Part, ...]:
    """Connects parameters and sites into parts."""
    roots, same = _origins(graph, outside)
    groups: list[tuple[set[int], list[int]]] = []
    for number, site in enumerate(sites):
        params = {param for value in site.weight_numbers for param in roots[value]}
        members = [number]
        for group in [group for group in groups if group[0] & params]:
            groups.remove(group)
            params, members = params | group[0], group[1] + members
        if params:
            groups.append((params, members))
    parts = []
    for params, members in groups:
        weights = {value for number in members for value in sites[number].weight_numbers}
        alone = all(len(sites[number].weights) == 1 for number in members)
        single = len(params) == 1 and alone and weights <= set(same)
        ways = [same[sites[number].weight_numbers[0]] for number in sorted(members)] if single else []
        transposed = tuple(way for way in ways if way is not None)
        transposed = transposed if len(transposed) == len(ways) else ()
        direct = single and len(weights) == 1
        parts.append(Part(tuple(sorted(params)), tuple(sorted(members)), direct, transposed))
    return tuple(sorted(parts))


def _origins(graph: Graph, outside: tuple[Step, ...]) -> tuple[dict[int, set[int]], dict[int, bool | None]]:
    """Finds which parameters a value is made of.

    Returns:
      {value: the parameters that it is made of}; {value that is one parameter's numbers: whether it is the transposed
      matrix, None if it is neither that nor the matrix itself}.
    """
    roots = {number: {position} for position, number in enumerate(graph.params)}
    same = {number: False if graph.avals[number].ndim == 2 else None for number in graph.params}
    for step in outside:
        inputs = [value for value in step.inputs if not isinstance(value, Constant)]
        sources = set().union(*(roots.get(value, set()) for value in inputs))
        for output in step.outputs:
            roots[output] = sources
            if step.name in SAME_NUMBERS and inputs and inputs[0] in same:
                same[output] = _is_transposed(step, same[inputs[0]])
    return roots, same


def _is_transposed(step: Step, before: bool | None) -> bool | None:
    """Tells whether a matrix that was transposed or not is so after a step; None if it has another shape."""
    if step.name in ("copy", "copy_p"):
        return before
    if step.name != "transpose" or before is None:
        return None
    return before != (tuple(step.params["permutation"]) == (1, 0))
