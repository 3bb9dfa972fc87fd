"""Per-example clipping at about the cost of one gradient: book-keeping over the jaxpr of any single-example loss.

One forward and ONE backward pass over the whole batch leave at every site (`plan`) the examples' inputs and output
cotangents. From these come each example's gradient norm, mostly without the gradient, and after clipping the weighted
sum, one product a site: no second backward pass (Bu et al. 2022, "book-keeping"; here on the traced program instead of
on layers, so that plain Flax and plain JAX need no rewriting and nothing is left out).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gecko_jax.privacy.per_example import graph as graphs
from gecko_jax.privacy.per_example import sites as rules
from gecko_jax.privacy.per_example.convolution_site import convolution
from gecko_jax.privacy.per_example.plan import Part, Plan, plan
from gecko_jax.programs import execute, read, run_step
from gecko_jax.types import Array


class Books(NamedTuple):
    """Attributes:
    squared: [b, leaves] squared norm of each example's gradient of each parameter.
    results: pytree of the loss function, [b, ...].
    weighted: (factors [b, leaves], fine [b]) -> the sums of factor * gradient, in the parameters' tree.
    """

    squared: Array
    results: Any
    weighted: Callable[[Array, Array], Any]


def keep_books(function: Callable[..., Any], params: Any, examples: Any) -> Books:
    """Books of a batch.

    Args:
      function: (params, example) -> pytree whose first leaf is the loss, a scalar.
      params: pytree of parameters.
      examples: pytree with a leading axis [b].
    """
    leaves, structure = jax.tree.flatten(params)
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), examples)
    graph, result = graphs.trace(function, params, one)
    if not graph.depends_on_data(graph.outputs[0]):
        return keep_books(_with_zero(function), params, (examples, jnp.zeros(len(jax.tree.leaves(examples)[0]))))
    planned = plan(graph)
    plain = execute(planned.outside, dict(zip(graph.params, leaves, strict=True)))
    saved, backs, results = _pass(graph, planned, plain, jax.tree.leaves(examples))
    found = [_part(graph, planned, part, leaves, plain, saved, backs) for part in planned.parts]
    squared = [jnp.zeros(len(results[0]), results[0].dtype)] * len(leaves)
    for part, each in zip(planned.parts, found, strict=True):
        for position, one_found in zip(part.params, each, strict=True):
            squared[position] = one_found.squared

    def weighted(factors, fine):
        sums = [jnp.zeros_like(rules.single(leaf)) for leaf in leaves]
        for part, each in zip(planned.parts, found, strict=True):
            for position, one_found in zip(part.params, each, strict=True):
                sums[position] = one_found.weighted(factors[:, position], fine).astype(sums[position].dtype)
        return structure.unflatten(sums)

    return Books(jnp.stack(squared, axis=1), result.unflatten(results), weighted)


def _with_zero(function):
    """The function with a zero of each example's own on its loss: one that sees no data is everyone's nevertheless."""

    def run(params, example):
        (loss, *rest), structure = jax.tree.flatten(function(params, example[0]))
        return structure.unflatten([loss + example[1].astype(jnp.result_type(loss)), *rest])

    return run


def _pass(graph: graphs.Graph, planned: Plan, plain: dict[int, Array], examples: list[Array]):
    """What each site saved [b, ...], the cotangents of its float outputs, and the results' leaves [b, ...]."""

    def forward(taps, example):
        values = {**plain, **dict(zip(graph.data, example, strict=True))}
        saved = []
        for step, number in zip(planned.inside, planned.numbers, strict=True):
            made = run_step(step, [read(values, atom) for atom in step.inputs])
            if number is not None:
                saved.append([values[step.inputs[i]] for i in planned.sites[number].saved])
                tap = iter(taps[number])
                made = [out + next(tap) if graphs.is_float(a) else out for out, a in zip(made, step.avals, strict=True)]
            values.update(zip(step.outputs, made, strict=True))
        results = [read(values, atom) for atom in graph.outputs]
        return results[0], (saved, results)

    size = len(examples[0])
    # Zeros that XLA drops: a cotangent of theirs is the cotangent of what they are added to.
    taps = [
        [jnp.zeros((size, *aval.shape), aval.dtype) for aval in site.step.avals if graphs.is_float(aval)]
        for site in planned.sites
    ]
    losses, pull, (saved, results) = jax.vjp(lambda t: jax.vmap(forward)(t, examples), taps, has_aux=True)
    return saved, pull(jnp.ones_like(losses))[0], results


def _part(graph, planned: Plan, part: Part, leaves, plain, saved, backs) -> list[rules.Found]:
    """A Found for each parameter of a part."""
    if part.direct and (found := _direct(planned, part, plain, saved, backs)):
        position, site = part.params[0], planned.sites[part.sites[0]]
        number = site.step.inputs[site.weights[0]]
        if number == graph.params[position]:
            return [found]
        own = _own_shape(graph, planned, position, number, leaves)
        return [found._replace(weighted=lambda factors, fine: own(found.weighted(factors, fine)))]
    return _any(graph, planned, part, leaves, plain, saved, backs)


def _direct(planned: Plan, part: Part, plain, saved, backs) -> rules.Found | None:
    """By the rule of the primitive, or None where the generic way is as good or the only one."""
    sites = [planned.sites[number] for number in part.sites]
    weight = plain[sites[0].step.inputs[sites[0].weights[0]]]
    first, name = sites[0], sites[0].step.name
    if any(site.step.name != name or len(site.saved) != 1 for site in sites):
        return None
    values = [saved[number][0] for number in part.sites]
    back = [backs[number][0] for number in part.sites]
    if name == "dot_general":
        return rules.dense(sites, weight, values, back)
    if len(sites) > 1:
        return None
    if name == "gather" and first.weights == (0,):
        return rules.embedding(first, weight, values[0], back[0])
    if name == "conv_general_dilated":
        return convolution(first, weight, values[0], back[0])
    return None


def _own_shape(graph, planned: Plan, position: int, number: int, leaves):
    """From a sum in the shape of a reshaped parameter to the parameter's own."""

    def forward(leaf):
        start = dict(zip(graph.params, leaves, strict=True)) | {graph.params[position]: leaf}
        return execute(planned.outside, start)[number]

    return lambda total: jax.vjp(forward, leaves[position].astype(total.dtype))[1](total)[0]


def _any(graph, planned: Plan, part: Part, leaves, plain, saved, backs) -> list[rules.Found]:
    """The generic way: gradients of the sites' weights, then of the parameters behind them, made for each example."""
    numbers = [planned.sites[n].step.inputs[i] for n in part.sites for i in planned.sites[n].weights]

    def behind(chosen):
        values = dict(zip(graph.params, leaves, strict=True))
        values |= {graph.params[position]: leaf for position, leaf in zip(part.params, chosen, strict=True)}
        values = execute(planned.outside, values)
        return [values[number] for number in numbers]

    pulled = []
    for n in part.sites:
        site = planned.sites[n]
        weights = [plain[site.step.inputs[i]] for i in site.weights]
        pulled += rules.instantiate(site, plain, weights, saved[n], backs[n])
    _, pull = jax.vjp(behind, [leaves[position] for position in part.params])
    return [rules.kept(gradients) for gradients in jax.vmap(pull)(pulled)[0]]
