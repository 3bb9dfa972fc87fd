"""Temperatures against a minimizer that is told nothing of convexity, a naive private descent, and dp_accounting."""

from __future__ import annotations

import math

import dp_accounting
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from gecko_jax import keys, metrics


def drawn(seed, n, classes, temperature):
    """Logits, and labels that come true as often as softmax(logits / temperature) says."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.normal(size=(n, classes))
    probs = special.softmax(logits / temperature, -1)
    labels = (probs.cumsum(-1) < rng.random(n)[:, None]).sum(-1)
    return logits, labels


def nll(logits, labels, temperature):
    return -special.log_softmax(logits / temperature, -1)[np.arange(len(labels)), labels].mean()


@given(st.integers(0, 2**31), st.integers(2, 6), st.sampled_from([0.3, 1.0, 2.5, 8.0]), st.sampled_from([1, 1e-3, 1e3]))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_it_minimizes_the_nll(seed, classes, temperature, scale):
    logits, labels = drawn(seed, 400, classes, temperature)
    best = optimize.minimize_scalar(lambda u: nll(logits, labels, math.exp(u)), bounds=(-5, 6), method="bounded")
    actual = metrics.fit_temperature(logits * scale + 7, labels)
    assert actual == pytest.approx(math.exp(best.x) * scale, rel=1e-3)
    assert nll(logits * scale, labels, actual) <= best.fun + 1e-12


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_it_recovers_a_known_temperature_and_calibrates(temperature):
    logits, labels = drawn(0, 40000, 5, temperature)
    actual = metrics.fit_temperature(logits.astype(np.float32), labels)
    assert actual == pytest.approx(temperature, rel=0.03)
    scaled, plain = special.softmax(logits / actual, -1), special.softmax(logits, -1)
    assert (scaled.argmax(-1) == plain.argmax(-1)).all()
    assert metrics.expected_calibration_error(scaled, labels) < 0.01
    if temperature != 1:
        assert metrics.expected_calibration_error(plain, labels) > 0.05


def test_two_classes_have_a_closed_form():
    # Of 10 records with log-odds of 4, 9 are right: 4 / T = log(9).
    actual = metrics.fit_temperature([[4.0, 0.0]] * 10, [0] * 9 + [1])
    assert actual == pytest.approx(4 / math.log(9), rel=1e-9)
    assert metrics.fit_temperature([[math.log(3), 0.0]] * 4, [0, 0, 0, 1]) == pytest.approx(1, rel=1e-9)


def test_one_hot_logits_far_apart_are_no_obstacle():
    logits = 1e6 * np.eye(3)[[0, 1, 2, 0, 1, 2, 0, 1]]
    actual = metrics.fit_temperature(logits, [0, 1, 2, 0, 1, 2, 0, 2])
    assert actual == pytest.approx(1e6 / math.log(14), rel=1e-9)  # 7 of 8 right, and two classes share the rest


def test_where_no_temperature_is_best_it_says_so():
    with pytest.raises(ValueError, match="all among the largest logits"):
        metrics.fit_temperature([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]], [0, 1, 1])
    for logits, labels in (([[1.0, 0.0], [0.0, 1.0]], [1, 1]), ([[1.0, 0.0]], [1])):
        with pytest.raises(ValueError, match="logits no larger, on average"):
            metrics.fit_temperature(logits, labels)


def private(logits, labels, clip_norm=1.0, noise_multiplier=0.0, steps=200, learning_rate=3.0, seed=0):
    return metrics.fit_temperature_privately(logits, labels, clip_norm, noise_multiplier, steps, learning_rate, seed)


def naive_private(logits, labels, clip_norm, noise_multiplier, steps, learning_rate, seed):
    """The same descent, its gradients by finite differences of the loss of each record."""
    noise = np.random.default_rng(seed).normal(size=steps)
    a = math.log(math.e - 1)

    def loss(a, z, y):
        return -special.log_softmax(math.log1p(math.exp(a)) * z)[y]

    for t in range(steps):
        total = clip_norm * noise_multiplier * noise[t]
        for z, y in zip(logits, labels, strict=True):
            slope = (loss(a + 1e-5, z, y) - loss(a - 1e-5, z, y)) / 2e-5
            total += slope * min(1, clip_norm / abs(slope))
        a -= learning_rate * (steps - t) / steps * total / len(labels)
    return 1 / math.log1p(math.exp(a))


@pytest.mark.parametrize("clip_norm, noise_multiplier", [(0.1, 0.0), (1.0, 2.0), (100.0, 0.5)])
def test_the_private_descent_is_the_naive_one(monkeypatch, clip_norm, noise_multiplier):
    monkeypatch.setattr(keys, "generator", lambda seed, *words: np.random.default_rng(11))
    logits, labels = drawn(3, 30, 4, 2.0)
    arguments = (logits, labels, clip_norm, noise_multiplier, 8, 0.5, 11)
    actual = metrics.fit_temperature_privately(*arguments)
    assert actual.temperature == pytest.approx(naive_private(*arguments), rel=1e-6)
    assert (actual.noise_multiplier, actual.steps) == (noise_multiplier, 8)


def test_without_noise_or_clipping_it_ends_at_the_best_temperature():
    logits, labels = drawn(4, 500, 5, 3.0)
    actual = private(logits, labels, clip_norm=1e6, steps=400).temperature
    assert actual == pytest.approx(metrics.fit_temperature(logits, labels), rel=1e-4)


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_a_small_epsilon_is_enough_to_calibrate(temperature):
    logits, labels = drawn(5, 4000, 5, temperature)
    actual = private(logits, labels, noise_multiplier=20.0, steps=100)
    assert actual.epsilon(1e-5) < 2
    ece = [metrics.expected_calibration_error(special.softmax(logits / t, -1), labels) for t in (1, actual.temperature)]
    assert ece[1] < ece[0] / 3


def test_the_noise_on_a_step_is_as_large_as_it_says():
    """Records without a slope leave the noise alone: one step moves a by -noise / n."""
    logits, labels = np.zeros((5, 3)), np.zeros(5, int)
    runs = [private(logits, labels, 2.0, 3.0, 1, 0.1, seed).temperature for seed in range(400)]
    moves = np.log(np.expm1(1 / np.array(runs))) - math.log(math.e - 1)
    assert moves.std() == pytest.approx(0.1 * 2.0 * 3.0 / 5, rel=0.15)  # four standard errors
    assert abs(moves.mean()) < 4 * 0.12 / 20
    assert len(set(runs)) == 400 and runs[7] == private(logits, labels, 2.0, 3.0, 1, 0.1, 7).temperature


def test_noise_beyond_all_measure_leaves_a_temperature():
    logits, labels = drawn(6, 10, 3, 1.0)
    actual = [private(logits, labels, 1e6, 1e6, 3, 1.0, seed).temperature for seed in range(6)]
    assert all(1e-3 * (1 - 1e-9) <= t <= 1e3 * (1 + 1e-9) for t in actual) and len({t > 1 for t in actual}) == 2


@given(st.floats(0.3, 300), st.integers(1, 500), st.sampled_from([1e-10, 1e-5, 1e-2, 0.3]))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_epsilon_is_that_of_one_gaussian_mechanism(noise_multiplier, steps, delta):
    actual = metrics.PrivateTemperature(1.0, noise_multiplier, steps).epsilon(delta)
    expected = dp_accounting.get_epsilon_gaussian(noise_multiplier / math.sqrt(steps), delta)
    assert actual == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_epsilon_is_that_of_composed_steps():
    accountant = dp_accounting.pld.PLDAccountant(value_discretization_interval=1e-3)
    accountant.compose(dp_accounting.GaussianDpEvent(8.0), 50)
    actual = metrics.PrivateTemperature(1.0, 8.0, 50).epsilon(1e-6)
    assert actual <= accountant.get_epsilon(1e-6) <= actual + 0.05


def test_epsilon_at_the_ends():
    assert metrics.PrivateTemperature(1.0, 0.0, 5).epsilon(1e-5) == math.inf
    assert metrics.PrivateTemperature(1.0, 1e9, 5).epsilon(1e-5) == 0
    for delta in (0.0, 1.0, -1, math.nan):
        with pytest.raises(ValueError, match="delta="):
            metrics.PrivateTemperature(1.0, 1.0, 5).epsilon(delta)


FITS = (metrics.fit_temperature, private)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        ([[0.0, np.inf]], [0], "logits holds 1 entr"),
        ([0.0, 1.0], [0], "logits has shape"),
        ([[1.0]], [0], "number of classes=1"),
        ([[0.0, 1.0]], [2], "labels run from 2"),
        ([[0.0, 1.0]], [0, 1], "labels has shape"),
        (np.zeros((0, 2)), np.zeros(0, int), "labels is empty"),
    ],
)
def test_bad_records_are_named(fit, logits, labels, words):
    with pytest.raises(ValueError, match=words):
        fit(logits, labels)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"clip_norm": 0}, "clip_norm=0"),
        ({"noise_multiplier": -1.0}, "noise_multiplier=-1.0"),
        ({"noise_multiplier": math.nan}, "noise_multiplier"),
        ({"steps": 0}, "steps=0"),
        ({"learning_rate": math.inf}, "learning_rate=inf"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_bad_settings_are_named(setting, words):
    with pytest.raises(ValueError, match=words):
        private([[0.0, 1.0]], [0], **setting)
