"""Per-example clipping at about the cost of one gradient: book-keeping over the steps of any single-example loss.

One forward and ONE backward pass of the whole batch leave at every site (`plan`) the examples' inputs and output
cotangents. They give each example's gradient norm, mostly without its gradient, and after clipping the weighted sum,
one product a site, without a second backward pass (Bu et al. 2022, "book-keeping"). It works on the traced program
and not on layers: plain Flax and plain JAX need no rewriting, and nothing is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.privacy.per_example import graph as graphs
from gecko_jax.privacy.per_example import sites as rules
from gecko_jax.privacy.per_example.convolution_site import convolution
from gecko_jax.privacy.per_example.plan import Part, Plan, plan
from gecko_jax.privacy.per_example.shared_matrix import shared_matrix
from gecko_jax.privacy.per_example.table_site import embedding
from gecko_jax.programs import execute, read, run_step
from gecko_jax.trees import example_shapes
from gecko_jax.types import Array


class PerExampleGradients(NamedTuple):
    """The gradients of a batch, each example's by itself, as norms and a way to sum them.

    Attributes:
      squared: [b, leaves] squared norm of each example's gradient of each parameter.
      results: pytree of the loss function, [b, ...].
      weighted: (factors [b, leaves], is_finite [b]) -> the sums of factor * gradient, in the parameters' tree.
      formed: for each leaf, whether an array holds every example's gradient of it.
    """

    squared: Array
    results: Any
    weighted: Callable[[Array, Array], Any]
    formed: tuple[bool, ...]


def bookkeep(function: Callable[..., Any], params: Any, examples: Any) -> PerExampleGradients:
    """Runs a batch forward and backward once, and keeps what norms and sums need.

    Args:
      function: (params, example) -> pytree whose first leaf is the loss, a scalar.
      params: pytree of parameters.
      examples: pytree with a leading axis [b].
    """
    leaves, structure = jax.tree.flatten(params)
    # A NumPy batch that a compiled function closes over would reach primitives as it is, which some refuse.
    examples = jax.tree.map(lambda leaf: jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf, examples)
    one = example_shapes(examples)
    graph, result = graphs.trace(function, params, one)
    if not graph.depends_on_data(graph.outputs[0]):
        return bookkeep(_with_zero(function), params, (examples, jnp.zeros(len(jax.tree.leaves(examples)[0]))))
    planned = plan(graph)
    plain = execute(planned.outside, dict(zip(graph.params, leaves, strict=True)))
    saved, backs, results = _pass(graph, planned, plain, jax.tree.leaves(examples))
    by_leaf: dict[int, rules.SiteGradients] = {}
    for part in planned.parts:
        by_leaf |= zip(part.params, _part(graph, planned, part, leaves, plain, saved, backs), strict=True)
    nothing = jnp.zeros(len(results[0]), results[0].dtype)
    squared = [by_leaf[i].squared if i in by_leaf else nothing for i in range(len(leaves))]

    def weighted(factors, is_finite):
        sums: list[Array] = [jnp.zeros_like(rules.at_least_float32(leaf)) for leaf in leaves]
        for position, gradients in by_leaf.items():
            sums[position] = gradients.weighted(factors[:, position], is_finite).astype(sums[position].dtype)
        return structure.unflatten(sums)

    formed = tuple(i in by_leaf and by_leaf[i].formed for i in range(len(leaves)))
    return PerExampleGradients(jnp.stack(squared, axis=1), result.unflatten(results), weighted, formed)


def _with_zero(function):
    """Adds a zero of each example to its loss: a loss that reads no data counts once for every example, too."""

    def run(params, example):
        (loss, *rest), structure = jax.tree.flatten(function(params, example[0]))
        return structure.unflatten([loss + example[1].astype(jnp.result_type(loss)), *rest])

    return run


def _pass(graph: graphs.Graph, planned: Plan, plain: dict[int, Array], examples: list[Array]):
    """Returns what each site saved [b, ...], the cotangents of its float outputs, and the results' leaves [b, ...]."""

    def forward(taps, example):
        values = {**plain, **dict(zip(graph.data, example, strict=True))}
        saved = []
        for step, number in zip(planned.inside, planned.numbers, strict=True):
            outs = run_step(step, [read(values, atom) for atom in step.inputs])
            if number is not None:
                saved.append([values[value] for value in planned.sites[number].saved_numbers])
                tap = iter(taps[number])
                outs = [out + next(tap) if graphs.is_float(a) else out for out, a in zip(outs, step.avals, strict=True)]
            values.update(zip(step.outputs, outs, strict=True))
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


def _part(graph, planned: Plan, part: Part, leaves, plain, saved, backs) -> list[rules.SiteGradients]:
    """Returns the SiteGradients of each parameter of a part."""
    gradients = _by_rule(planned, part, plain, saved, backs) if part.direct else None
    if gradients:
        position, site = part.params[0], planned.sites[part.sites[0]]
        number = site.weight_numbers[0]
        if number == graph.params[position]:
            return [gradients]
        to_own_shape = _own_shape(graph, planned, position, number, leaves)

        def weighted(factors, is_finite):
            return to_own_shape(gradients.weighted(factors, is_finite))

        return [gradients._replace(weighted=weighted)]
    gradients = _by_shared_rule(graph, planned, part, leaves, saved, backs) if part.transposed else None
    return [gradients] if gradients else _generic(graph, planned, part, leaves, plain, saved, backs)


def _by_rule(planned: Plan, part: Part, plain, saved, backs) -> rules.SiteGradients | None:
    """Applies the rule of the primitive; None if the generic way is as good or the only one."""
    sites = [planned.sites[number] for number in part.sites]
    weight = plain[sites[0].weight_numbers[0]]
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
        return embedding(first, weight, values[0], back[0])
    if name == "conv_general_dilated":
        return convolution(first, weight, values[0], back[0])
    return None


def _by_shared_rule(graph, planned: Plan, part: Part, leaves, saved, backs) -> rules.SiteGradients | None:
    """Applies the rule of one matrix in several steps; None if some step has none."""
    sites = [planned.sites[number] for number in part.sites]
    if any(len(site.saved) != 1 for site in sites):
        return None
    values, back = ([each[number][0] for number in part.sites] for each in (saved, backs))
    return shared_matrix(sites, part.transposed, leaves[part.params[0]], values, back)


def _own_shape(graph, planned: Plan, position: int, number: int, leaves):
    """Maps a sum in the shape of a reshaped parameter back to the parameter's own shape."""

    def forward(leaf):
        start = dict(zip(graph.params, leaves, strict=True)) | {graph.params[position]: leaf}
        return execute(planned.outside, start)[number]

    return lambda total: jax.vjp(forward, leaves[position].astype(total.dtype))[1](total)[0]


def _generic(graph, planned: Plan, part: Part, leaves, plain, saved, backs) -> list[rules.SiteGradients]:
    """Computes each example's gradients of the sites' weights, then of the parameters that the weights are made of."""
    numbers = [number for n in part.sites for number in planned.sites[n].weight_numbers]

    def behind(chosen):
        values = dict(zip(graph.params, leaves, strict=True))
        values |= {graph.params[position]: leaf for position, leaf in zip(part.params, chosen, strict=True)}
        values = execute(planned.outside, values)
        return [values[number] for number in numbers]

    pulled = []
    for n in part.sites:
        site = planned.sites[n]
        weights = [plain[number] for number in site.weight_numbers]
        pulled += rules.instantiate(site, plain, weights, saved[n], backs[n])
    _, pull = jax.vjp(behind, [leaves[position] for position in part.params])
    return [rules.from_gradients(gradients) for gradients in jax.vmap(pull)(pulled)[0]]
