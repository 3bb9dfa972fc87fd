"""Calibration error against a loop over records and bins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gecko_jax import metrics


def naive(probs, labels, bins):
    total = 0.0
    for i in range(bins):
        rows = [r for r in range(len(probs)) if i / bins < max(probs[r]) <= (i + 1) / bins]
        if rows:
            right = np.mean([np.argmax(probs[r]) == labels[r] for r in rows])
            total += len(rows) / len(probs) * abs(right - np.mean([max(probs[r]) for r in rows]))
    return total


@given(st.integers(0, 2**31), st.integers(1, 60), st.integers(2, 5), st.sampled_from([1, 2, 15]))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_ece_is_the_naive_one(seed, n, classes, bins):
    rng = np.random.default_rng(seed)
    probs, labels = rng.dirichlet(np.ones(classes), n), rng.integers(0, classes, n)
    assert metrics.expected_calibration_error(probs, labels, bins) == pytest.approx(naive(probs, labels, bins))


def test_edges_belong_below_and_certainty_to_the_last_bin():
    probs = np.array([[0.5, 0.5], [1.0, 0.0], [0.6, 0.4], [0.8, 0.2]])
    result = metrics.reliability_bins(probs, [0, 0, 1, 0], bins=5)
    assert result.count.tolist() == [0, 0, 2, 1, 1]
    np.testing.assert_allclose(result.confidence, [np.nan, np.nan, 0.55, 0.8, 1.0])
    np.testing.assert_allclose(result.accuracy, [np.nan, np.nan, 0.5, 1.0, 1.0])
    np.testing.assert_allclose([result.low[2], result.high[2]], stats.binomtest(1, 2).proportion_ci(0.95, "exact"))
    assert (result.low[0], result.high[0]) == (0.0, 1.0)


def test_a_calibrated_model_has_little_error_and_a_certain_wrong_one_all():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 1, 20000)
    labels = (rng.random(20000) > p).astype(int)
    assert metrics.expected_calibration_error(np.stack([p, 1 - p], -1), labels) < 0.02
    assert metrics.expected_calibration_error([[1.0, 0.0]], [1]) == 1.0


@pytest.mark.parametrize(
    ("probs", "labels", "bins", "words"),
    [
        ([[2.0, -1.0]], [0], 15, "no array of probabilities"),
        ([[0.5, 0.4]], [0], 15, "sum to 0.9"),
        ([[0.5, np.nan]], [0], 15, "NaN"),
        ([[0.5, 0.5]], [0, 1], 15, "labels has shape"),
        ([[0.5, 0.5]], [2], 15, "expected 0..1"),
        ([[0.5, 0.5]], [0.0], 15, "dtype"),
        ([[0.5, 0.5]], [0], 0, "bins=0"),
        ([[1.0]], [0], 15, "two classes"),
        (np.zeros((0, 2)), np.zeros(0, int), 15, "empty"),
    ],
)
def test_bad_input_is_named(probs, labels, bins, words):
    with pytest.raises(ValueError, match=words):
        metrics.expected_calibration_error(probs, labels, bins)
