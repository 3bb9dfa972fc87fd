"""Calibration errors against loops over records and bins, and proper scores against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import brier_score_loss, log_loss

from gecko_jax import metrics

MEASURES = (
    metrics.expected_calibration_error,
    metrics.maximum_calibration_error,
    metrics.classwise_calibration_error,
    metrics.brier_score,
    metrics.negative_log_likelihood,
)
DRAWS = (st.integers(0, 2**31), st.integers(1, 60), st.integers(2, 5))


def drawn(seed, n, classes):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(classes), n), rng.integers(0, classes, n)


def naive(values, true, bins, equal_mass=False):
    """[(records, gap)] of the bins that hold a record."""
    n, actual = len(values), []
    ends = [i / bins for i in range(bins + 1)]
    if equal_mass:
        ends = [0, *(sorted(values)[math.ceil(i * n / bins) - 1] for i in range(1, bins)), 1]
    for low, high in zip(ends[:-1], ends[1:], strict=True):
        rows = [r for r in range(n) if low < values[r] <= high or (values[r] == low == 0)]
        if rows:
            actual.append((len(rows), abs(np.mean([true[r] for r in rows]) - np.mean([values[r] for r in rows]))))
    return actual


def naive_ece(actual):
    return sum(count * gap for count, gap in actual) / sum(count for count, _ in actual)


@given(*DRAWS, st.sampled_from([1, 2, 15]), st.booleans())
@settings(derandomize=True, deadline=None, max_examples=50)
def test_errors_are_the_naive_ones(seed, n, classes, bins, equal_mass):
    probs, labels = drawn(seed, n, classes)
    given_ = (probs, labels, bins)
    actual = naive(probs.max(-1).tolist(), (probs.argmax(-1) == labels).tolist(), bins, equal_mass)
    assert metrics.expected_calibration_error(*given_, equal_mass=equal_mass) == pytest.approx(naive_ece(actual))
    largest = max(gap for _, gap in actual)
    assert metrics.maximum_calibration_error(*given_, equal_mass=equal_mass) == pytest.approx(largest)
    classes = [naive_ece(naive(p.tolist(), (labels == k).tolist(), bins, equal_mass)) for k, p in enumerate(probs.T)]
    assert metrics.classwise_calibration_error(*given_, equal_mass=equal_mass) == pytest.approx(np.mean(classes))


@given(*DRAWS)
@settings(derandomize=True, deadline=None, max_examples=20)
def test_proper_scores_are_those_of_scikit_learn(seed, n, classes):
    probs, labels = drawn(seed, n, classes)
    known = {"labels": list(range(classes))}
    assert metrics.negative_log_likelihood(probs, labels) == pytest.approx(log_loss(labels, probs, **known))
    # scikit-learn takes labels of two classes as one event, and halves nothing if it is told so.
    expected = brier_score_loss(labels, probs, scale_by_half=False, **known)
    assert metrics.brier_score(probs, labels) == pytest.approx(expected)


def test_an_example_by_hand():
    probs = [[0.9, 0.1, 0.0], [0.9, 0.0, 0.1], [0.3, 0.6, 0.1], [0.2, 0.2, 0.6], [0.5, 0.25, 0.25]]
    labels = [0, 1, 1, 0, 0]
    # Confidences .9 .9 .6 .6 .5, of which right: 1 of 2, 1 of 2, 1 of 1; gaps .4, .1, .5 in quarters.
    assert metrics.expected_calibration_error(probs, labels, 4) == pytest.approx((2 * 0.4 + 2 * 0.1 + 1 * 0.5) / 5)
    assert metrics.maximum_calibration_error(probs, labels, 4) == pytest.approx(0.5)
    # One bin a class: means .56 .23 .21 beside shares .6 .4 0.
    assert metrics.classwise_calibration_error(probs, labels, 1) == pytest.approx((0.04 + 0.17 + 0.21) / 3)
    squares = [0.01 + 0.01, 0.81 + 1 + 0.01, 0.09 + 0.16 + 0.01, 0.64 + 0.04 + 0.36, 0.25 + 0.0625 + 0.0625]
    assert metrics.brier_score(probs, labels) == pytest.approx(sum(squares) / 5)
    logs = [math.log(0.9), -36.04365338911715, math.log(0.6), math.log(0.2), math.log(0.5)]  # log of 2^-52
    assert metrics.negative_log_likelihood(probs, labels) == pytest.approx(-sum(logs) / 5)
    assert metrics.negative_log_likelihood([[1.0, 0.0]], [1], smallest=0.01) == pytest.approx(math.log(100))


def test_edges_belong_below_and_certainty_to_the_last_bin():
    probs = np.array([[0.5, 0.5], [1.0, 0.0], [0.6, 0.4], [0.8, 0.2]])
    result = metrics.reliability_bins(probs, [0, 0, 1, 0], bins=5)
    assert result.count.tolist() == [0, 0, 2, 1, 1]
    np.testing.assert_allclose(result.confidence, [np.nan, np.nan, 0.55, 0.8, 1.0])
    np.testing.assert_allclose(result.accuracy, [np.nan, np.nan, 0.5, 1.0, 1.0])
    np.testing.assert_allclose([result.low[2], result.high[2]], stats.binomtest(1, 2).proportion_ci(0.95, "exact"))
    assert (result.low[0], result.high[0]) == (0.0, 1.0)


@given(st.integers(0, 2**31), st.integers(1, 200), st.integers(1, 20))
@settings(derandomize=True, deadline=None, max_examples=30)
def test_bins_of_equal_mass_differ_by_one_record_at_most(seed, n, bins):
    probs, labels = drawn(seed, n, 3)
    result = metrics.reliability_bins(probs, labels, bins, equal_mass=True)
    assert result.count.sum() == n and set(result.count) <= {n // bins, n // bins + 1}
    assert (np.diff(result.edges) >= 0).all() and (result.edges[0], result.edges[-1]) == (0, 1)


def test_equal_confidences_share_a_bin_in_any_order():
    top = np.array([0.6] * 5 + [0.7] + [0.8] * 4)
    probs, labels = np.stack([top, 1 - top], -1), np.array([0, 1] * 5)
    result = metrics.reliability_bins(probs, labels, 5, equal_mass=True)
    assert result.count.tolist() == [5, 0, 1, 4, 0]
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(10)
        again = metrics.reliability_bins(probs[order], labels[order], 5, equal_mass=True)
        np.testing.assert_allclose(again.accuracy, result.accuracy)


def test_a_calibrated_model_has_little_error_and_a_certain_wrong_one_all():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 1, 20000)
    probs, labels = np.stack([p, 1 - p], -1), (rng.random(20000) > p).astype(int)
    for equal_mass in (False, True):
        assert metrics.expected_calibration_error(probs, labels, equal_mass=equal_mass) < 0.02
        assert metrics.maximum_calibration_error(probs, labels, equal_mass=equal_mass) < 0.05
        assert metrics.classwise_calibration_error(probs, labels, equal_mass=equal_mass) < 0.02
    assert metrics.expected_calibration_error([[1.0, 0.0]], [1]) == 1.0


def test_figures_touch_no_argument_and_take_single_precision():
    probs, labels = drawn(1, 40, 4)
    before = probs.copy()
    for measure in MEASURES:
        assert measure(probs.astype(np.float32), labels.astype(np.uint8)) == pytest.approx(measure(probs, labels), 1e-5)
    assert (probs == before).all()


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("probs", "labels", "words"),
    [
        ([[2.0, -1.0]], [0], "does not hold probabilities"),
        ([[0.5, 0.4]], [0], "sum to 0.9"),
        ([[0.5, np.nan]], [0], "NaN"),
        ([[0.5, 0.5]], [0, 1], "labels has shape"),
        ([[0.5, 0.5]], [2], "expected 0..1"),
        ([[0.5, 0.5]], [-1], "expected 0..1"),
        ([[0.5, 0.5]], [0.0], "dtype"),
        ([[1.0]], [0], "two classes"),
        (np.zeros((0, 2)), np.zeros(0, int), "empty"),
    ],
)
def test_bad_input_is_named(measure, probs, labels, words):
    with pytest.raises(ValueError, match=words):
        measure(probs, labels)


def test_bad_settings_are_named():
    for measure in MEASURES[:3]:
        with pytest.raises(ValueError, match="bins=0"):
            measure([[0.5, 0.5]], [0], 0)
    for smallest in (0.0, 1.5):
        with pytest.raises(ValueError, match=f"smallest={smallest}"):
            metrics.negative_log_likelihood([[0.5, 0.5]], [0], smallest)
