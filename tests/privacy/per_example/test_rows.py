"""Batches that end in padding: the same sums as of the whole, whatever part of them is worked on."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_clipped_sum import FLAT, check_equal

from gecko_jax import clippings
from gecko_jax.privacy import clipped
from gecko_jax.privacy.per_example.rows import real_rows, sizes
from gecko_jax.types import Clipping

B, D = 300, 6
X = np.random.default_rng(0).normal(size=(B, D)).astype(np.float32)
PARAMS = np.linspace(-1, 1, D).astype(np.float32)
EXPECTED = 200.0  # of which sizes are 200, 215, 229 and 300


def loss(params, x, key):
    return jnp.tanh(x @ params) ** 2, x[0]


run = jax.jit(
    lambda params, x, weight, expected: clipped(loss, expected=expected)(FLAT.at(0.7), params, x, None, weight),
    static_argnames="expected",
)


def of_first(count):
    """Weights of a batch whose first rows are real."""
    return (np.arange(B) < count).astype(np.float32)


def by_hand(count):
    """The clipped gradients, in float64: 2 tanh(w x) / cosh(w x)^2 x."""
    x, w = X[:count].astype(np.float64), PARAMS.astype(np.float64)
    gradients = (2 * np.tanh(x @ w) / np.cosh(x @ w) ** 2)[:, None] * x
    norms = np.linalg.norm(gradients, axis=1)
    return (gradients * np.minimum(1, 0.7 / norms)[:, None]).sum(0), norms


def test_the_sizes_are_the_mean_and_two_deviations():
    assert sizes(EXPECTED, B) == (200, 215, 229, 300)
    assert sizes(256.0, 399) == (256, 272, 288, 399)
    assert sizes(None, 300) == (300,)
    assert sizes(100.0, 255) == (255,)  # not worth a choice
    assert sizes(290.0, 300) == (290, 300)
    assert sizes(400.0, 300) == (300,)


@pytest.mark.parametrize("count", [0, 1, 199, 200, 201, 215, 216, 229, 230, 299, 300])
def test_a_sum_over_fewer_rows_is_the_sum_of_all_real_ones(count):
    output = run(PARAMS, X, of_first(count), EXPECTED)
    total, norms = by_hand(count)
    np.testing.assert_allclose(output.sum, total, atol=1e-5 * max(np.abs(total).max(), 1e-6))
    np.testing.assert_allclose(output.norms[:count], norms, rtol=1e-5, atol=2e-6)  # x @ w cancels
    assert output.norms.shape == (B,) and not output.norms[count:].any()
    np.testing.assert_array_equal(output.results[1][:count], X[:count, 0])


def test_real_rows_after_padding_are_not_lost():
    weight = of_first(10)
    weight[250] = 1
    by_rows = run(PARAMS, X, weight, EXPECTED)
    at_once = run(PARAMS, X, weight, None)
    check_equal(by_rows.sum, np.asarray(at_once.sum))
    assert by_rows.norms[250] > 0


def weights_of(counts):
    return np.stack([of_first(count) for count in counts])


@pytest.mark.parametrize("microbatch", [None, 16])
def test_models_side_by_side_share_one_choice(microbatch):
    """Under vmap a branch or a loop on each model's own count would do all the work of all branches, or copy sums."""
    rule = FLAT.at(0.7)
    of_one = functools.partial(clipped(loss, microbatch=microbatch, expected=EXPECTED), rule)
    several = jax.vmap(lambda weight: of_one(PARAMS, X, None, weight).sum)
    by_model = jax.jit(several)(weights_of([3, 210, 120]))
    for row, count in zip(by_model, [3, 210, 120], strict=True):
        np.testing.assert_allclose(row, by_hand(count)[0], rtol=1e-4, atol=1e-6)
    [branch] = [
        equation
        for equation in jax.make_jaxpr(several)(weights_of([3, 210, 120])).eqns
        if equation.primitive.name == ("while" if microbatch else "cond")
    ]
    if microbatch:
        assert branch.params["cond_jaxpr"].out_avals[0].shape == ()
    else:
        assert branch.invars[0].aval.shape == () and len(branch.params["branches"]) == 4


def test_the_shared_count_is_the_largest():
    counts = jax.vmap(real_rows)(weights_of([3, 210, 120]))
    assert counts.tolist() == [210, 210, 210]
    assert real_rows(of_first(7)) == 7


def test_a_rule_sees_one_row_at_a_time():
    """Factors that change with the size of the batch, which the trial of a rule cannot try in all sizes."""

    def scale(norms):
        return jnp.where(jnp.isfinite(norms), 1 / jnp.maximum(norms, 1), 0) * (1 if len(norms) < 64 else 0.5)

    for method in ("bookkeeping", "vmap"):
        of = clipped(loss, method)
        row_wise = of(Clipping("mine", scale, 1.0), PARAMS, X, None, None)
        right = of(clippings.flat(1.0), PARAMS, X, None, None)
        np.testing.assert_allclose(row_wise.sum, right.sum, rtol=1e-6)
