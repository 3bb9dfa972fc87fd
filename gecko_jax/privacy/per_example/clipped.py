"""Sums of clipped per-example gradients: every method is exact; they differ in time and memory alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gecko_jax import checks, devices
from gecko_jax.clippings.trial import try_outside_traces
from gecko_jax.privacy.per_example.bookkeeping import PerExampleGradients, bookkeep
from gecko_jax.privacy.per_example.choice import choose
from gecko_jax.privacy.per_example.looped import with_windows
from gecko_jax.privacy.per_example.paths import check_trains, gradient_paths
from gecko_jax.privacy.per_example.precision import PRECISIONS, computed_in
from gecko_jax.privacy.per_example.rows import ClippedSum, by_microbatches, by_row, sizes, with_static_sizes
from gecko_jax.privacy.per_example.vmapped import by_vmap
from gecko_jax.privacy.per_example.weights import check_weights, weight_of
from gecko_jax.trees import example_shapes, named_leaves, row_count, select_leaves, with_leaves
from gecko_jax.types import Array, Clipping

METHODS = ("auto", "vmap", "bookkeeping")

LossFn = Callable[..., Any]  # (variables, example, key) -> scalar, or (scalar, aux): ONE example


def clipped_sum(
    loss: LossFn,
    clipping: Clipping,
    method: str = "auto",
    microbatch: int | None = None,
    precision: str | None = None,
) -> Callable[..., tuple[Any, Array]]:
    """Sums clipped gradients: sum_i scale(|g_i|) g_i, with g_i the gradient of one example's loss.

    Guarantee: adding or removing one example moves the sum by at most `clipping.sensitivity` in the L2 norm, replacing
    one by at most twice that. The loss is traced for one example, so no example sees another. Norms are computed in
    float32 at least, and overestimated if cancellation leaves only rounding. The sum has no noise yet.

    | precision | products of the loss and its gradients | products of the sum |
    |---|---|---|
    | None | as JAX has it: float32 on a CPU; by default TF32 on an NVIDIA GPU, bfloat16 on a TPU | float32 |
    | "float32" | float32 | float32 |
    | "tensorfloat32", "bfloat16" | in this format; float32 on a CPU | in this format |

    The guarantee holds in every format. In the last row each norm is raised by what rounding may add to a share (a
    factor of 1.002 or 1.016 for a dense layer, more if several rows are multiplied by one matrix).

    | an example's gradient | its share of the sum |
    |---|---|
    | 0 | 0 |
    | holds NaN or infinity, or its squared norm overflows float32 | 0, in all parameters; its norm is NaN or infinite |
    | tiny (its square underflows float32) | scale * gradient; its norm may be computed as 0, its scale as scale(0) |
    | of a frozen parameter, or one without a gradient path to the loss | 0 there, and no part in the norm |
    | of a row of weight 0 (padding) | 0, whatever stands in the row, NaN included; its norm is returned as 0 |
    | of a row of another weight | refused; if the weight is traced, the whole sum is NaN |
    | no row is real | the sum is 0 |

    Args:
      loss: (variables, example, key) -> scalar, or (scalar, aux). One example: any pytree.
      clipping: a rule of `gecko_jax.clippings`.
      method: "bookkeeping" (one backward pass for all examples), "vmap" (each example's gradient is formed), or "auto".
      microbatch: examples at a time, which bounds the memory; None: all at once, or what "auto" chooses. On a GPU or
        TPU "auto" takes all at once if they fit half of its memory.
      precision: the format of products, see the table. `jax.default_matmul_precision` is JAX's own setting.

    Returns:
      (variables, batch, key=None, weight=None) -> (sum, norms). The sum has the tree of variables["params"] (of
      `variables` if they have no such entry), in float32 at least; the norms before clipping are [b] or [b, groups].
      `batch` is the example's pytree with a leading axis [b] on every leaf. `weight` [b] is 1 for real rows and 0 for
      padding; None: batch.weight of a `types.Batch`, and 1 for any other batch.

    Raises:
      ValueError: an unknown method or precision, a rule that breaks its bound, a loss that is not a scalar, a parameter
        that no group of the rule names; when called, leaves of different lengths, or weights other than 0 and 1.

    Source: Abadi et al., CCS 2016 (arXiv 1607.00133), Algorithm 1; book-keeping: Bu et al. 2022 (arXiv 2210.00038).

    >>> import jax.numpy as jnp
    >>> from gecko_jax import clippings
    >>> total = clipped_sum(lambda w, x, key: w @ x, clippings.flat(1.0))
    >>> total(jnp.zeros(2), jnp.array([[3.0, 4.0], [0.0, 0.5]]))[0].tolist()
    [0.6000000238418579, 1.2999999523162842]
    """
    full = clipped(loss, method, microbatch, precision=precision)
    try_outside_traces(clipping)
    return lambda variables, batch, key=None, weight=None: full(clipping, variables, batch, key, weight)[:2]


def clipped(
    loss: LossFn,
    method: str = "auto",
    microbatch: int | None = None,
    expected: float | None = None,
    precision: str | None = None,
) -> Callable[..., ClippedSum]:
    """Builds a clipped sum whose rule is an argument, such as one step's rule of an adaptive clipping.

    Guarantee and edge cases: see `clipped_sum`.

    Args:
      loss, method, microbatch: see `clipped_sum`.
      expected: mean number of real rows of a sampled batch: programs for a few sizes about it are compiled, which skip
        the padding. None: batches have no padding to skip.
      precision: see `clipped_sum`.

    Returns:
      (clipping, variables, batch, key=None, weight=None, live=None) -> ClippedSum. `live` is one bool for each leaf of
      the parameters, whether it is trained; None: those with a gradient path to the loss.

    Raises:
      ValueError: see `clipped_sum`.

    >>> from gecko_jax import clippings
    >>> clip = clipped(lambda w, x, key: w @ x)
    >>> clip(clippings.flat(2.0), jnp.zeros(2), jnp.array([[0.0, 4.0], [0.5, 0.0]])).norms.tolist()
    [4.0, 0.5]
    """
    checks.one_of("method", method, METHODS)
    if precision is not None:
        checks.one_of("precision", precision, PRECISIONS)
    if microbatch is not None:
        microbatch = checks.integer("microbatch", microbatch, 1)

    def run(clipping: Clipping, variables, batch, key=None, weight=None, live=None) -> ClippedSum:
        with computed_in(precision):
            return total(clipping, variables, batch, key, weight, live)

    def total(clipping: Clipping, variables, batch, key, weight, live) -> ClippedSum:
        try_outside_traces(clipping)
        params, function = _of_params(loss, variables)
        size = row_count("batch", batch)
        if size == 0:
            raise ValueError("batch has no rows; if nobody was drawn, pass rows of weight 0: their sum is 0.")
        name, weight = ("batch.weight", weight_of(batch)) if weight is None else ("weight", weight)
        real, valid = check_weights(name, weight, size)
        real = None if weight is None else real
        keys = None if key is None else jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(size))
        examples = (batch, keys)
        if live is None:
            live = gradient_paths(loss, variables, batch, key)
        _check_real(params)
        all_params = params
        params, function = _of_live(params, function, live)
        _check_scalar(function, params, examples)
        columns = _columns(clipping, params)
        way, chunk = choose(method, microbatch, function, params, examples, size)
        gradients_of = by_vmap if way == "vmap" else bookkeep
        looped = chunk < size and way != "vmap" and not devices.is_accelerator()
        computed = with_windows(function) if looped else function

        def part(rows, chosen):
            return _clip(clipping, columns, gradients_of(computed, params, rows), chosen)

        choices = sizes(expected, size) if real is not None else (size,)
        if chunk < size:
            clipped_rows = by_microbatches(part, examples, real, size, chunk)
        elif real is not None and len(choices) > 1:
            clipped_rows = with_static_sizes(part, examples, real, choices)
        else:
            clipped_rows = part(examples, real)
        if real is not None:
            checked = jax.tree.map(lambda leaf: leaf * valid, clipped_rows.sum)
            clipped_rows = clipped_rows._replace(sum=checked, norms=clipped_rows.norms * valid)
        return clipped_rows._replace(sum=_with_zeros(clipped_rows.sum, all_params, live))

    return run


def _of_params(loss: LossFn, variables: Any):
    """Returns the parameters, and (params, (example, key)) -> pytree with the loss first."""
    nested = isinstance(variables, Mapping) and "params" in variables

    def function(params, example):
        result = loss({**variables, "params": params} if nested else params, *example)
        return result if isinstance(result, tuple) else (result,)

    return (variables["params"] if nested else variables), function


def _of_live(params: Any, function: Callable[..., Any], live: Sequence[bool]):
    """Returns the trained parameters, and the function of them alone: frozen ones are constants like any other."""
    check_trains(params, live, None)
    if all(live):
        return params, function
    return select_leaves(params, live), lambda trained, example: function(with_leaves(trained, params, live), example)


def _with_zeros(total: Any, params: Any, live: Sequence[bool]) -> Any:
    """Puts the sum into the tree of all parameters: 0 for the frozen ones."""
    if all(live):
        return total
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.promote_types(leaf.dtype, jnp.float32)), params)
    return with_leaves(total, zeros, live)


def _check_real(params) -> None:
    for name, leaf in named_leaves(params):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise ValueError(
                f"parameter {name!r} has dtype {jnp.result_type(leaf)}; every trained parameter must be real. Store "
                'a complex one as two real ones, and put what is not trained beside "params" in the variables.'
            )


def _check_scalar(function, params, examples) -> None:
    one = example_shapes(examples)
    value = jax.tree.leaves(jax.eval_shape(function, params, one))[0]
    if value.shape != ():
        raise ValueError(
            f"loss gave an array of shape {value.shape} for one example; expected a scalar. It is "
            "called with one row of the batch at a time: leave out the axis of examples and the mean over it."
        )


def _columns(clipping: Clipping, params: Any) -> tuple[int, ...]:
    """Returns the number of each parameter's group."""
    names = [name for name, _ in named_leaves(params)]
    if not clipping.groups:
        return (0,) * len(names)
    columns = []
    for name in names:
        matching = [number for number, group in enumerate(clipping.groups) if re.search(group, name)]
        if not matching:
            raise ValueError(
                f"clipping {clipping.name!r} has no group for the parameter {name!r}: its groups are "
                f"{list(clipping.groups)}. Add one whose expression is found in that name."
            )
        columns.append(matching[0])
    return tuple(columns)


def _clip(
    clipping: Clipping, columns: tuple[int, ...], gradients: PerExampleGradients, real: Array | None
) -> ClippedSum:
    """Sums the gradients of a batch, each times its rule's factor."""
    groups = max(len(clipping.groups), 1)
    squared = [sum(gradients.squared[:, i] for i, c in enumerate(columns) if c == group) for group in range(groups)]
    norms = jnp.sqrt(jnp.stack([jnp.broadcast_to(s, gradients.squared.shape[:1]) for s in squared], axis=1))
    is_finite = jnp.all(jnp.isfinite(norms), axis=1)
    use = is_finite if real is None else is_finite & (real > 0)
    factors = jnp.where(use[:, None], by_row(clipping.scale, norms), 0)
    total = gradients.weighted(factors[:, jnp.array(columns, int)], is_finite)
    if real is not None:
        norms = jnp.where((real > 0)[:, None], norms, 0)
    return ClippedSum(total, norms if clipping.groups else norms[:, 0], gradients.results)
