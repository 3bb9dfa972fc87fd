"""The soft-binned calibration error against loops in double precision, and against the hard bins it tends to."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from gecko_jax import metrics
from gecko_jax.losses import soft_binned_ece

JITTED = jax.jit(soft_binned_ece, static_argnums=(3, 4))
SLOPES = jax.jit(jax.grad(soft_binned_ece), static_argnums=(3, 4))


def drawn(seed, n=64, classes=4):
    rng = np.random.default_rng(seed)
    return (2 * rng.normal(size=(n, classes))).astype(np.float32), rng.integers(0, classes, n).astype(np.int32)


def naive(logits, labels, weight, bins, temperature):
    total, weight = 0.0, np.asarray(weight, float)
    for j in range(bins):
        count = conf = acc = 0.0
        for z, y, w in zip(logits.astype(float), labels, weight, strict=True):
            p = max(softmax(z))
            closeness = [math.exp(-((p - (k + 0.5) / bins) ** 2) / temperature) for k in range(bins)]
            share = w * closeness[j] / sum(closeness)
            count, conf, acc = count + share, conf + share * p, acc + share * (np.argmax(z) == y)
        if count:
            total += count / sum(weight) * (conf / count - acc / count) ** 2
    return math.sqrt(total)


@given(st.integers(0, 2**31), st.sampled_from([(1, 0.01), (15, 0.01), (15, 0.002), (4, 1.0)]))
@settings(derandomize=True, deadline=None, max_examples=20)
def test_it_is_the_naive_one(seed, options):
    logits, labels = drawn(seed, 12)
    weight = np.random.default_rng(seed).integers(0, 2, 12).astype(np.float32)
    weight[0] = 1
    assert float(JITTED(logits, labels, weight, *options)) == pytest.approx(
        naive(logits, labels, weight, *options), rel=1e-4, abs=1e-6
    )


def test_it_tends_to_the_hard_bins():
    logits, labels = drawn(0, 400)
    bins = metrics.reliability_bins(softmax(logits.astype(float), -1), labels, 15)
    gaps = np.nan_to_num(bins.accuracy - bins.confidence)
    hard = math.sqrt((bins.count / 400) @ gaps**2)
    errors = [abs(float(JITTED(logits, labels, np.ones(400), 15, t)) - hard) for t in (1e-2, 1e-3, 1e-4, 1e-7)]
    assert errors[-1] < 1e-4 < errors[0] and errors == sorted(errors, reverse=True)


def test_one_bin_is_the_gap_of_the_means():
    logits, labels = drawn(1)
    probs = softmax(logits.astype(float), -1)
    gap = abs(probs.max(-1).mean() - (probs.argmax(-1) == labels).mean())
    assert float(JITTED(logits, labels, np.ones(64), 1, 0.01)) == pytest.approx(gap, rel=1e-5)


def test_the_slope_is_that_of_finite_differences():
    logits, labels = drawn(2, 8, 3)
    weight = np.array([1, 1, 1, 0, 1, 1, 1, 0], np.float32)
    values = SLOPES(logits, labels, weight, 15, 0.01)
    expected = np.zeros((8, 3))
    for index in np.ndindex(8, 3):
        step = np.zeros((8, 3))
        step[index] = 1e-5
        ends = [naive(logits.astype(float) + sign * step, labels, weight, 15, 0.01) for sign in (1, -1)]
        expected[index] = (ends[0] - ends[1]) / 2e-5
    np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-5)
    assert not np.asarray(values)[[3, 7]].any(), "padding has no slope"


@pytest.mark.parametrize("temperature", [1e-6, 0.01])
@pytest.mark.parametrize(
    "logits, labels, weight, value",
    [
        ([[0.0, 0.0], [0.0, 0.0]], [0, 1], [1, 1], 0.0),  # half sure, and half right
        ([[90.0, 0.0], [0.0, 500.0]], [0, 1], [1, 1], 0.0),  # sure and right
        ([[90.0, 0.0], [0.0, 500.0]], [1, 0], [1, 1], 1.0),  # sure and wrong
        ([[3.0, 1.0], [2.0, 0.0]], [0, 1], [0, 0], 0.0),  # padding alone
    ],
)
def test_the_slope_is_finite_at_the_ends(logits, labels, weight, value, temperature):
    arguments = jnp.array(logits), jnp.array(labels), jnp.array(weight, jnp.float32), 15, temperature
    assert float(JITTED(*arguments)) == pytest.approx(value, abs=1e-6)
    assert np.isfinite(SLOPES(*arguments)).all()


@given(st.integers(0, 2**31), st.sampled_from([1e-8, 0.01]))
@settings(derandomize=True, deadline=None, max_examples=20)
def test_slopes_are_finite_and_bounded(seed, temperature):
    logits, labels = drawn(seed, 16)
    for scale in (0.01, 1.0, 30.0):
        value, slopes = (f(scale * logits, labels, np.ones(16), 15, temperature) for f in (JITTED, SLOPES))
        assert 0 <= float(value) <= 1 + 1e-6
        assert np.isfinite(slopes).all()


def test_descent_calibrates_a_scale():
    rng = np.random.default_rng(3)
    logits = 2 * rng.normal(size=(2000, 4)).astype(np.float32)
    labels = (softmax(logits / 3, -1).cumsum(-1) < rng.random(2000)[:, None]).sum(-1)

    @jax.jit
    def slope(scale):
        return jax.value_and_grad(lambda s: soft_binned_ece(jnp.exp(s) * logits, labels, jnp.ones(2000)))(scale)

    scale, start = 0.0, float(slope(0.0)[0])
    for _ in range(60):
        scale -= 0.5 * float(slope(scale)[1])
    assert start > 0.2 and float(slope(scale)[0]) < 0.05
    assert math.exp(-scale) == pytest.approx(metrics.fit_temperature(logits, labels), rel=0.1)


def test_half_precision_is_lifted():
    logits, labels = drawn(4)
    logits, weight = jnp.asarray(logits, jnp.bfloat16), jnp.ones(64, jnp.bfloat16)
    single, half = (JITTED(z, labels, weight, 15, 0.01) for z in (logits.astype(jnp.float32), logits))
    assert half.dtype == jnp.float32 and float(half) == pytest.approx(float(single), rel=1e-5)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"logits": jnp.zeros(3)}, "logits has shape"),
        ({"labels": jnp.zeros(3, int)}, "labels has shape"),
        ({"weight": jnp.zeros((2, 1))}, "weight has shape"),
        ({"bins": 0}, "bins=0"),
        ({"temperature": 0.0}, "temperature=0.0"),
    ],
)
def test_bad_input_is_named(change, words):
    good = {"logits": jnp.zeros((2, 3)), "labels": jnp.zeros(2, int), "weight": jnp.ones(2)}
    with pytest.raises(ValueError, match=words):
        soft_binned_ece(**{**good, **change})
