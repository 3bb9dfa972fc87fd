"""The edge-case tables of privacy's docstrings, row by row: 0, NaN, infinite and tiny arguments."""

from __future__ import annotations

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import clippings, privacy

RUN = privacy.poisson(1000, 1000, steps=1)
KEY, FLAT = jax.random.key(0), clippings.flat(1.0)


def product(params, example, key):
    """Its gradient is the example itself."""
    return params @ example


@pytest.mark.parametrize(
    "first, norm, share",
    [
        (0.0, 0.0, 0.0), (math.nan, math.nan, 0.0), (math.inf, math.inf, 0.0), (3e38, math.inf, 0.0),
        (1e-30, 0.0, 1e-30),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["bookkeeping", "vmap"])
def test_an_examples_share_of_a_clipped_sum(first, norm, share, method):
    batch = jnp.array([[first, 0.0], [3.0, 4.0]])
    total, norms = privacy.clipped_sum(product, FLAT, method)(jnp.zeros(2), batch)
    np.testing.assert_allclose(total, [0.6 + share, 0.8], rtol=1e-6)
    if not math.isfinite(norm):
        assert not np.isfinite(norms[0]) and norms[1] == 5.0
    else:
        np.testing.assert_array_equal(norms, [norm, 5.0])
    nobody, norms = privacy.clipped_sum(product, FLAT, method)(jnp.zeros(2), batch, weight=jnp.zeros(2))
    assert nobody.tolist() == norms.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e39, -1.0])
def test_noise_that_cannot_be_drawn_is_refused(bad):
    with pytest.raises(ValueError, match=re.escape(f"noise_multiplier={bad}")):
        privacy.private_gradients(product, FLAT, bad, 2.0)
    with pytest.raises(ValueError, match=re.escape(f"count_noise={bad}")):
        privacy.private_gradients(product, clippings.quantile(1.0), 1.0, 2.0, count_noise=bad)


@pytest.mark.parametrize("bad", [0, math.nan, math.inf])
def test_batches_that_cannot_be_drawn_are_refused(bad):
    with pytest.raises(ValueError, match=f"expected_batch_size={bad}"):
        privacy.private_gradients(product, FLAT, 1.0, bad)
    with pytest.raises(ValueError, match=f"batch_size={bad}"):
        privacy.poisson(1000, bad, 5)
    with pytest.raises(ValueError, match=f"target_epsilon={bad}"):
        privacy.calibrate_noise(RUN, bad, 1e-5)
    for delta in {bad, 1}:
        with pytest.raises(ValueError, match=f"delta={delta}"):
            privacy.epsilon(RUN, 1.0, delta)


def test_tiny_batches_are_mostly_empty_and_full_ones_hold_everyone():
    empty = privacy.draw(privacy.poisson(1000, 1e-9, 50), 0, 0, 50)
    assert empty.weight.sum() == 0
    assert privacy.draw(RUN, 0, 0, 1).weight.sum() == 1000


@pytest.mark.parametrize(
    "noise, count, epsilon",
    [(0, None, math.inf), (1e-300, None, math.inf), (math.inf, None, 0.0), (1.0, 0, math.inf)],
)
def test_epsilon_at_the_ends_of_the_noise(noise, count, epsilon):
    assert float(privacy.epsilon(RUN, noise, 1e-5, count_noise_multiplier=count)) == epsilon
    for bad in (math.nan, -1.0):
        with pytest.raises(ValueError, match=f"noise_multiplier={bad}"):
            privacy.epsilon(RUN, bad, 1e-5)


def test_count_noise_without_end_costs_nothing():
    alone = float(privacy.epsilon(RUN, 1.0, 1e-5))
    assert float(privacy.epsilon(RUN, 1.0, 1e-5, count_noise_multiplier=math.inf)) == alone


def test_delta_at_the_ends_of_epsilon():
    """At 0 it is the total variation distance of N(0, 1) and N(1, 1)."""
    assert privacy.delta(RUN, 1.0, 0.0) == pytest.approx(math.erf(0.5 / math.sqrt(2)), rel=1e-6)
    for bad in (math.nan, math.inf, -1.0):
        with pytest.raises(ValueError, match=f"epsilon={bad}"):
            privacy.delta(RUN, 1.0, bad)


def test_noise_at_the_ends_of_its_deviation():
    tree = {"a": jnp.zeros((0, 3)), "b": jnp.zeros(5, jnp.float16)}
    noise = privacy.gaussian(KEY, tree, 0.0)
    assert noise["a"].shape == (0, 3) and noise["b"].dtype == jnp.float32 and not np.any(noise["b"])
    assert np.isnan(privacy.gaussian(KEY, jnp.zeros(3), math.nan)).all()
    assert np.isinf(privacy.gaussian(KEY, jnp.zeros(3), math.inf)).all() and privacy.gaussian(KEY, {}, 1.0) == {}
