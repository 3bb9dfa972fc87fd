"""The adaptive rules against the papers' loops in Python floats, and the quantiles that they are to find."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax.clippings import global_adapt, quantile

RNG = np.random.default_rng(0)
NORMS = RNG.lognormal(1.0, 0.8, 4000).astype(np.float32)[:, None]
NOISE = RNG.normal(0, 0.05, 200)


def settle(rule, norms=NORMS, steps=1000):
    """The threshold after some steps with exact counts."""

    def step(_, threshold):
        return rule.update(threshold, jnp.mean(rule.exceeds(norms, threshold)))

    return float(jax.jit(lambda start: jax.lax.fori_loop(0, steps, step, start))(jnp.float32(rule.start)))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("start", [1e-3, 1e3])
def test_the_clip_norm_finds_the_quantile_of_the_norms(share, start):
    actual = settle(quantile(start, share))
    assert abs(np.mean(actual >= NORMS) - share) < 0.01
    assert actual == pytest.approx(np.quantile(NORMS, share), rel=0.02)


@pytest.mark.parametrize("tolerance", [0.7, 1.0])
@pytest.mark.parametrize("start", [1.0, 1e3])
def test_the_upper_threshold_rests_where_a_share_eta_is_above_it(tolerance, start):
    actual = settle(global_adapt(0.1, start, 0.1, tolerance))
    assert tolerance * actual == pytest.approx(np.quantile(NORMS, 0.9), rel=0.02)


def test_the_clip_norm_goes_the_way_of_the_papers_loop():
    rule, expected = quantile(0.3, 0.7, 0.25), 0.3
    threshold, update = jnp.float32(rule.start), jax.jit(rule.update)
    for noise in NOISE:
        share = sum(1 for t in NORMS[:50, 0] if t <= expected) / 50 + noise
        threshold = update(threshold, jnp.float32(share))
        expected = expected * math.exp(-0.25 * (share - 0.7))
        assert float(threshold) == pytest.approx(expected, rel=1e-4)


def test_the_upper_threshold_goes_the_way_of_the_papers_loop():
    rule, expected = global_adapt(0.5, 20.0, 0.1, 0.7), 20.0
    threshold, update = jnp.float32(rule.start), jax.jit(rule.update)
    for noise in NOISE:
        share = sum(1 for t in NORMS[:50, 0] if t > 0.7 * expected) / 50 + noise
        threshold = update(threshold, jnp.float32(share))
        expected = max(0.5, expected * math.exp(-0.1 + share))
        assert float(threshold) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("z", [0.5, 3.0, 40.0])
def test_adaptive_global_factors_are_those_of_the_published_algorithm(z):
    r = 0.5
    rule = global_adapt(r).at(jnp.float32(z))
    t = NORMS.astype(np.float64)
    np.testing.assert_allclose(rule.scale(NORMS), np.where(t <= z, r / z, np.minimum(1, r / t)), rtol=1e-6)
    assert rule.sensitivity == r


def test_quantile_clips_flat_at_its_threshold():
    rule = quantile(1.0).at(jnp.float32(2.5))
    np.testing.assert_allclose(rule.scale(NORMS), np.minimum(1, 2.5 / NORMS.astype(np.float64)), rtol=1e-6)
    assert float(rule.sensitivity) == 2.5


def test_shares():
    norms = np.asarray([[0.0], [2.0], [np.nextafter(np.float32(2), np.float32(3))], [np.inf], [np.nan]], np.float32)
    two = jnp.float32(2)
    assert quantile(1.0).exceeds(norms, two).tolist() == [1, 1, 0, 0, 0]
    assert global_adapt(1.0).exceeds(norms, two).tolist() == [0, 0, 1, 0, 0]
    assert global_adapt(1.0, tolerance=0.9).exceeds(norms, two).tolist() == [0, 1, 1, 0, 0]
    for rule in (quantile(1.0), global_adapt(1.0)):
        assert rule.exceeds(jnp.zeros((2, 3, 1)), two).shape == (2, 3)
        with pytest.raises(ValueError, match="last axis must have length 1"):
            rule.exceeds(jnp.zeros((3, 2)), two)


@pytest.mark.parametrize("rule, low", [(quantile(3.0), 1e-12), (global_adapt(3.0), 3.0)], ids=["quantile", "global"])
def test_no_count_drives_the_threshold_out_of_its_range(rule, low):
    update = jax.jit(rule.update)
    for count in (-1e30, -100.0, 0.0, 100.0, 1e30, -np.inf, np.inf):
        threshold = jnp.float32(rule.start)
        for _ in range(3):
            threshold = update(threshold, jnp.float32(count))
            assert low * (1 - 1e-6) <= float(threshold) <= 1e12 * (1 + 1e-6)
    assert float(update(jnp.float32(7), jnp.float32(np.nan))) == 7  # nothing was learnt


def test_a_fleet_of_thresholds_is_one_vmap():
    thresholds = jnp.asarray([0.5, 1.0, 4.0])
    norms = jnp.asarray(NORMS[:6].reshape(3, 2, 1))
    for rule in (quantile(1.0), global_adapt(0.25)):
        many = jax.vmap(lambda norms, threshold, rule=rule: rule.at(threshold).scale(norms))(norms, thresholds)
        for model in range(3):
            np.testing.assert_allclose(many[model], rule.at(thresholds[model]).scale(norms[model]), rtol=1e-6)


def test_arguments():
    with pytest.raises(ValueError, match="quantile=1.5 must lie between 0 and 1"):
        quantile(1.0, 1.5)
    with pytest.raises(ValueError, match="learning_rate=0 must be"):
        quantile(1.0, learning_rate=0)
    with pytest.raises(ValueError, match="threshold=0.5 must be at least clip_norm=1.0"):
        global_adapt(1.0, 0.5)
    with pytest.raises(ValueError, match="tolerance=-1 must be"):
        global_adapt(1.0, tolerance=-1)
    assert global_adapt(2.0).start == 100
