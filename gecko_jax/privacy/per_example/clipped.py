"""Sums of clipped per-example gradients, exact by every method: they differ in time and memory alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gecko_jax import checks
from gecko_jax.clippings.trial import try_outside_traces
from gecko_jax.privacy.per_example import graph as graphs
from gecko_jax.privacy.per_example.bookkeeping import Books, keep_books
from gecko_jax.privacy.per_example.looped import with_windows
from gecko_jax.privacy.per_example.microbatch import microbatch_of
from gecko_jax.privacy.per_example.paths import check_trains, gradient_paths
from gecko_jax.privacy.per_example.rows import Clipped, by_row, in_sizes, in_turns, sizes
from gecko_jax.privacy.per_example.sites import kept
from gecko_jax.privacy.per_example.weights import check_weights, weight_of
from gecko_jax.trees import named_leaves, row_count, select_leaves, with_leaves
from gecko_jax.types import Array, Clipping

METHODS = ("auto", "vmap", "bookkeeping")

LossFn = Callable[..., Any]  # (variables, example, key) -> scalar, or (scalar, aux): ONE example


def clipped_sum(
    loss: LossFn, clipping: Clipping, method: str = "auto", microbatch: int | None = None
) -> Callable[..., tuple[Any, Array]]:
    """The sum of clipped gradients: sum_i scale(|g_i|) g_i, with g_i the gradient of one example's loss.

    Args:
      loss: (variables, example, key) -> scalar, or (scalar, aux). One example: any pytree.
      clipping: a rule of `gecko_jax.clippings`.
      method: "bookkeeping" (one backward pass for all examples), "vmap" (each example's gradient is made), or "auto".
      microbatch: examples worked on at a time, which bounds the memory; None: all at once, or "auto"'s choice.

    Returns:
      (variables, batch, key=None, weight=None) -> (sum, norms): the sum in the tree of variables["params"] (of
      `variables` where it has no such entry), the norms before clipping, [b] or [b, groups]. `batch` is the example's
      pytree with a leading axis [b] on every leaf; `weight` [b] is 1 for real rows and 0 for padding (if it is None:
      batch.weight of a `types.Batch`, and 1 for any other batch). An example whose gradient is NaN or infinite adds
      nothing. A parameter without a gradient path to the loss (unread, or behind `stop_gradient`) has the sum 0 and no
      part in the norm.

    Raises:
      ValueError: an unknown method, a rule that breaks its bound, a loss that is no scalar, a parameter that no group
        of the rule takes; when called, leaves of different lengths, or weights other than 0 and 1. Weights that are
        traced, and so not known yet, give a sum of NaN instead.

    >>> import jax.numpy as jnp
    >>> from gecko_jax import clippings
    >>> total = clipped_sum(lambda w, x, key: w @ x, clippings.flat(1.0))
    >>> total(jnp.zeros(2), jnp.array([[3.0, 4.0], [0.0, 0.5]]))[0].tolist()
    [0.6000000238418579, 1.2999999523162842]
    """
    full = clipped(loss, method, microbatch)
    try_outside_traces(clipping)
    return lambda variables, batch, key=None, weight=None: full(clipping, variables, batch, key, weight)[:2]


def clipped(
    loss: LossFn, method: str = "auto", microbatch: int | None = None, expected: float | None = None
) -> Callable[..., Clipped]:
    """(clipping, variables, batch, key, weight, live) -> Clipped.

    `live` says which parameters are trained, one bool for each leaf; None: those with a gradient path to the loss.

    Args:
      loss, method, microbatch: see `clipped_sum`.
      expected: rows that are real in a batch on average, where batches are sampled: programs for a few sizes about it
        are compiled, so that padding is not worked on.
    """
    checks.one_of("method", method, METHODS)
    if microbatch is not None:
        microbatch = checks.integer("microbatch", microbatch, 1)
    books = _made if method == "vmap" else keep_books

    def run(clipping: Clipping, variables, batch, key=None, weight=None, live=None) -> Clipped:
        try_outside_traces(clipping)
        params, function = _of_params(loss, variables)
        size = row_count("batch", batch)
        if size == 0:
            raise ValueError("batch has no rows; where nobody was drawn, pass rows of weight 0, whose sum is 0.")
        name, weight = ("batch.weight", weight_of(batch)) if weight is None else ("weight", weight)
        real, valid = check_weights(name, weight, size)
        real = None if weight is None else real
        keys = None if key is None else jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(size))
        examples = (batch, keys)
        if live is None:
            live = gradient_paths(loss, variables, batch, key)
        _check_real(params)
        everything = params
        params, function = _of_live(params, function, live)
        _check_scalar(function, params, examples)
        columns = _columns(clipping, params)
        turn = microbatch or (microbatch_of(function, params, examples, size) if method == "auto" else size)
        looped = turn < size and method != "vmap" and jax.default_backend() == "cpu"
        inner = with_windows(function) if looped else function

        def part(rows, chosen):
            return _clip(clipping, columns, books(inner, params, rows), chosen)

        choices = sizes(expected, size) if real is not None else (size,)
        if turn < size:
            found = in_turns(part, examples, real, size, turn)
        else:
            found = in_sizes(part, examples, real, choices) if len(choices) > 1 else part(examples, real)
        if real is not None:
            found = found._replace(sum=jax.tree.map(lambda leaf: leaf * valid, found.sum), norms=found.norms * valid)
        return found._replace(sum=_with_zeros(found.sum, everything, live))

    return run


def _of_params(loss: LossFn, variables: Any):
    """The trained parameters, and (params, (example, key)) -> pytree with the loss first."""
    nested = isinstance(variables, Mapping) and "params" in variables

    def function(params, example):
        result = loss({**variables, "params": params} if nested else params, *example)
        return result if isinstance(result, tuple) else (result,)

    return (variables["params"] if nested else variables), function


def _of_live(params: Any, function: Callable[..., Any], live: Sequence[bool]):
    """The parameters that are trained, and the function of them alone: the frozen ones are constants like any other."""
    check_trains(params, live, None)
    if all(live):
        return params, function
    return select_leaves(params, live), lambda trained, example: function(with_leaves(trained, params, live), example)


def _with_zeros(total: Any, params: Any, live: Sequence[bool]) -> Any:
    """The sum in the tree of all parameters: 0 for the frozen ones."""
    if all(live):
        return total
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.promote_types(leaf.dtype, jnp.float32)), params)
    return with_leaves(total, zeros, live)


def _check_real(params) -> None:
    for name, leaf in named_leaves(params):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise ValueError(
                f"parameter {name!r} has dtype {jnp.result_type(leaf)}; every trained parameter must be real: hold "
                'complex ones as two real ones, and put what is not trained beside "params" in the variables.'
            )


def _check_scalar(function, params, examples) -> None:
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), examples)
    value = jax.tree.leaves(jax.eval_shape(function, params, one))[0]
    if value.shape != ():
        raise ValueError(
            f"loss gave an array of shape {value.shape} for one example; it must give a scalar. It is called with one "
            "row of the batch at a time: leave out the axis of examples and the mean over it."
        )


def _columns(clipping: Clipping, params: Any) -> tuple[int, ...]:
    """The group of each parameter."""
    names = [name for name, _ in named_leaves(params)]
    if not clipping.groups:
        return (0,) * len(names)
    columns = []
    for name in names:
        found = [number for number, group in enumerate(clipping.groups) if re.search(group, name)]
        if not found:
            raise ValueError(
                f"clipping {clipping.name!r} has no group for the parameter {name!r}: its groups are "
                f"{list(clipping.groups)}. Add one whose expression is found in that name."
            )
        columns.append(found[0])
    return tuple(columns)


def _clip(clipping: Clipping, columns: tuple[int, ...], books: Books, real: Array | None) -> Clipped:
    """The weighted sum of a batch whose books are kept."""
    groups = max(len(clipping.groups), 1)
    squared = [sum(books.squared[:, i] for i, c in enumerate(columns) if c == group) for group in range(groups)]
    norms = jnp.sqrt(jnp.stack([jnp.broadcast_to(s, books.squared.shape[:1]) for s in squared], axis=1))
    fine = jnp.all(jnp.isfinite(norms), axis=1)
    use = fine if real is None else fine & (real > 0)
    factors = jnp.where(use[:, None], by_row(clipping.scale, norms), 0)
    total = books.weighted(factors[:, jnp.array(columns, int)], fine)
    if real is not None:
        norms = jnp.where((real > 0)[:, None], norms, 0)
    return Clipped(total, norms if clipping.groups else norms[:, 0], books.results)


def _made(function, params, examples) -> Books:
    """Books by making every example's gradient."""
    replayed = graphs.replayed(function)

    def value(params, example):
        results = replayed(params, example)
        leaves, structure = jax.tree.flatten(results)
        return leaves[0], structure.unflatten(leaves)

    gradients, results = jax.vmap(jax.grad(value, has_aux=True), in_axes=(None, 0))(params, examples)
    leaves, structure = jax.tree.flatten(gradients)
    found = [kept(leaf) for leaf in leaves]

    def weighted(factors, fine):
        return structure.unflatten([each.weighted(factors[:, i], fine) for i, each in enumerate(found)])

    return Books(jnp.stack([each.squared for each in found], axis=1), results, weighted)
