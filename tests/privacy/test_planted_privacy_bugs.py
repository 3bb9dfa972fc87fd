"""Bugs that peers had, or that would go unseen, planted one at a time: each must fail the check that is named for it.

A bug is a line of a function replaced. Where that line has changed, the test says so: plant the bug in the new one.
"""

from __future__ import annotations

import sys

import pytest
import test_clipped_properties as shares
import test_clipped_sum as sums
import test_private_gradients as steps
import test_shared_tables as tables
from planting import plant

from gecko_jax.privacy import gradients, noise
from gecko_jax.privacy.accounting import epsilon as accounting
from gecko_jax.privacy.per_example import bookkeeping, convolution_site, graph, plan, rows, sites, table_site
from gecko_jax.training import step as training_step

clipped = sys.modules["gecko_jax.privacy.per_example.clipped"]  # the rooms show functions of these names
shared_matrix = sys.modules["gecko_jax.privacy.per_example.shared_matrix"]
shorten = sys.modules["gecko_jax.clippings.flat"]



def refused(check):
    """A bug that the trial of every rule refuses counts as found."""
    try:
        check()
    except ValueError as error:
        raise AssertionError(str(error)) from error


# name -> (module, function, line, planted, check that must fail)
BUGS = {
    # The step
    "noise on the mean": (
        gradients, "private_gradients",
        "(total + noisy) / expected_batch_size", "total / expected_batch_size + noisy",
        steps.check_noise,
    ),
    "noise without the sensitivity": (
        gradients, "private_gradients",
        "noise_multiplier * rule.sensitivity", "noise_multiplier",
        steps.check_noise,
    ),
    "noise of the threshold that was": (
        gradients, "private_gradients",
        "noise_multiplier * rule.sensitivity", "noise_multiplier * clipping.start",
        steps.check_threshold_sets_the_noise,
    ),
    "the size of the drawn batch as divisor": (
        gradients, "private_gradients",
        "(total + noisy) / expected_batch_size", "(total + noisy) / jnp.maximum(1, jnp.sum(batch.weight))",
        steps.check_divisor,
    ),
    "the expected batch size rounded": (
        gradients, "private_gradients",
        "(total + noisy) / expected_batch_size", "(total + noisy) / round(expected_batch_size)",
        steps.check_divisor,
    ),
    "no noise where nobody was drawn": (
        gradients, "private_gradients",
        "(total + noisy) / expected_batch_size",
        "jnp.where(jnp.any(batch.weight > 0), total + noisy, 0) / expected_batch_size",
        steps.check_empty_batch,
    ),
    "one key for all leaves": (noise, "gaussian", "keys[i]", "keys[0]", steps.check_noise),
    "the same key at every call": (
        gradients, "private_gradients", "noise(of_noise,", "noise(jax.random.key(0),", steps.check_keys,
    ),
    "one key for all steps": (
        training_step, "make_step",
        "jax.random.fold_in(wrap_key(epoch.key), drawn)", "wrap_key(epoch.key)",
        steps.check_noise_of_each_step,
    ),
    "replace-one charged as add-or-remove": (
        accounting, "epsilon",
        "BOUNDS[accountant](phases, delta, adjacency)", 'BOUNDS[accountant](phases, delta, "add_or_remove")',
        steps.check_replace_one,
    ),
    # The adaptive count
    "the count without noise": (
        gradients, "private_gradients", " + noise_of_count(of_count, jnp.zeros(()), count_noise)", "",
        steps.check_count_noise,
    ),
    "the count noised with the sum's key": (
        gradients, "private_gradients",
        "noise_of_count(of_count, jnp.zeros(()), count_noise)",
        "count_noise * jax.random.normal(jax.random.split(of_noise, 1)[0], (3,))[0]",
        steps.check_count_noise,
    ),
    "the count over the drawn batch": (
        gradients, "private_gradients", "centered / expected_batch_size", "centered / jnp.sum(real)", steps.check_count,
    ),
    "padding counted": (
        gradients, "private_gradients", "jnp.where(real, share - 0.5, 0)", "share - 0.5", steps.check_count,
    ),
    # Who adds what
    "padding clipped and summed": (
        clipped, "_clip", "is_finite if real is None else is_finite & (real > 0)", "is_finite", shares.check_padding,
    ),
    "a padded microbatch summed": (
        rows, "by_microbatches", "filled(real, jnp.zeros((), real.dtype))", "filled(real, jnp.ones((), real.dtype))",
        lambda: sums.check_exact("plain", "auto", 2),
    ),
    "a NaN let through": (
        clipped, "_clip", "jnp.all(jnp.isfinite(norms), axis=1)", "jnp.ones(len(norms), bool)", shares.check_not_finite,
    ),
    "a NaN times 0": (
        sites, "sum_over_finite", "jnp.where(is_finite.reshape(-1, *(1,) * (x.ndim - 1)), x, 0)", "x",
        shares.check_not_finite,
    ),
    "rows that are not finite never left out": (
        sites, "sum_over_finite", "shared(jnp.sum(~is_finite)) == 0", "True", lambda: shares.check_not_finite("mlp"),
    ),
    "one key for all examples": (
        clipped, "clipped", "jax.random.fold_in(key, i)", "jax.random.fold_in(key, 0 * i)",
        lambda: shares.check_own_draws(2),
    ),
    "keys that begin again in each microbatch": (
        clipped, "clipped", "(jnp.arange(size))", "(jnp.arange(size) % (microbatch or size))",
        lambda: shares.check_own_draws(2),
    ),
    # Factors
    "clipped after averaging": (
        clipped, "_clip", "by_row(clipping.scale, norms)",
        "clipping.scale(jnp.broadcast_to(norms.mean(axis=0, keepdims=True), norms.shape))",
        lambda: sums.check_exact("plain"),
    ),
    "groups clipped by the whole norm": (
        clipped, "_clip", "by_row(clipping.scale, norms)",
        "clipping.scale(jnp.broadcast_to(jnp.linalg.norm(norms, axis=1, keepdims=True), norms.shape))",
        sums.check_groups,
    ),
    "factors above 1": (
        shorten, "shorten", "bound / jnp.maximum(norms, bound)", "bound / norms",
        lambda: refused(lambda: sums.check_exact("plain")),
    ),
    # Norms
    "the first bias forgotten in the norm": (
        clipped, "_clip", "if c == group)", "if c == group and i)", lambda: sums.check_exact("plain"),
    ),
    "norms of leaves added, not their squares": (
        clipped, "_clip", "sum(gradients.squared[:, i]", "sum(jnp.sqrt(gradients.squared[:, i])",
        lambda: sums.check_exact("plain"),
    ),
    "ghost norms without cross terms": (
        sites, "outer", "of_rows * of_backs,", "of_rows * of_backs * jnp.eye(t)[None],",
        lambda: sums.check_exact("ghosts"),
    ),
    "ghost norms of factors that underflow": (
        sites, "max_magnitude", "jnp.max(jnp.abs(x), axis=axes, keepdims=True)", "jnp.ones_like(x[:, :1, :1])",
        lambda: shares.check_sensitivity(shares.contributions("flat")),
    ),
    "ghost norms of terms that cancel": (
        sites, "at_least_rounding", "jnp.maximum(total, MIN_RELATIVE_SUM * bound)",
        "jnp.maximum(jnp.sum(products, axis=(1, 2)), 0.0)",
        lambda: shares.check_sensitivity(shares.contributions("flat")),
    ),
    "ghost norms of terms that half cancel": (
        sites, "at_least_rounding", "total + SUM_ROUNDING * bound", "total",
        lambda: shares.check_sensitivity(shares.contributions("flat"), shares.HALF_CANCELED),
    ),
    "norms in half precision": (
        sites, "squares", "jnp.square(at_least_float32(x).reshape(len(x), -1))", "jnp.square(x.reshape(len(x), -1))",
        lambda: sums.check_half_precision("bfloat16", "vmap"),
    ),
    "sums in half precision": (
        bookkeeping, "bookkeep", ".astype(sums[position].dtype)", ".astype(leaves[position].dtype)",
        lambda: sums.check_half_precision("bfloat16"),
    ),
    "an embedding without repeated indices": (
        table_site, "equal_indices", "index[:, :, None] == index[:, None, :]",
        "jnp.eye(index.shape[1], dtype=bool)[None] & (index[:, :, None] >= 0)",
        lambda: sums.check_exact("by_index"),
    ),
    # Sites
    "tied weights counted once": (
        plan, "_parts", "params | group[0], group[1] + members", "params | group[0], members",
        lambda: sums.check_exact("tied"),
    ),
    "a layer called twice counted once": (
        sites, "dense", "jnp.concatenate(column, axis=1) if len(column) > 1 else column[0]", "column[0]",
        lambda: sums.check_exact("twice"),
    ),
    "a tied table's rows and products not multiplied with each other": (
        shared_matrix, "_squared", "jnp.take_along_axis(left, index[:, None, :], axis=2)",
        "jnp.zeros((*left.shape[:2], index.shape[1]))",
        lambda: tables.check_exact("few tokens"),
    ),
    "a tied table's rows left out of what is formed": (
        shared_matrix, "_formed", ".at[each, :, index].add(rows)", ".at[each, :, index].add(0 * rows)",
        lambda: tables.check_exact("many tokens"),
    ),
    "a transposed matrix taken as it is": (
        plan, "_is_transposed", "before != (", "False and (", lambda: tables.check_exact("from both sides"),
    ),
    "a convolution's groups mixed up": (
        convolution_site, "convolution",
        "windows.reshape(b, images * places, size, groups, inputs)",
        "windows.reshape(b, images * places, size, inputs, groups).swapaxes(3, 4)",
        lambda: sums.check_exact("conv_1d"),
    ),
    "the norm of a convolution's first group": (
        convolution_site, "_grouped", "jnp.sum(squared, axis=1)", "squared[:, 0]",
        lambda: sums.check_exact("conv_1d"),
    ),
    "a table's rows at the wrong places": (
        table_site, "embedding", "index.reshape(-1)]", "jnp.flip(index.reshape(-1))]",
        lambda: sums.check_exact("by_index"),
    ),
    "a reshaped parameter taken for another": (
        plan, "_origins", "step.name in SAME_NUMBERS and inputs", "inputs", lambda: sums.check_exact("xnor"),
    ),
    "complex numbers without gradients": (
        graph, "is_float", "jnp.inexact", "jnp.floating", lambda: sums.check_exact("odds"),
    ),
    "a loss without data without gradients": (
        bookkeeping, "bookkeep", "not graph.depends_on_data(graph.outputs[0])", "False",
        lambda: sums.check_exact("penalty"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug, monkeypatch):
    module, name, line, planted, check = BUGS[bug]
    plant(monkeypatch, module, name, line, planted)
    with pytest.raises(AssertionError):
        check()
