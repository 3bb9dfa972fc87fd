"""Intervals against SciPy, against a naive double loop, and by their coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gecko_jax import metrics


@given(st.integers(1, 300), st.floats(0, 1), st.sampled_from([0.9, 0.95, 0.99]))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_clopper_pearson_is_scipys(trials, share, confidence):
    successes = int(share * trials)
    expected = stats.binomtest(successes, trials).proportion_ci(confidence, "exact")
    np.testing.assert_allclose(metrics.clopper_pearson(successes, trials, confidence), expected, atol=1e-9)


def test_clopper_pearson_takes_arrays_and_refuses_nonsense():
    low, high = metrics.clopper_pearson(np.array([0, 5, 10]), 10)
    assert low.shape == high.shape == (3,)
    assert (low[0], high[2]) == (0.0, 1.0)
    for successes, trials in ((11, 10), (-1, 10), (0, 0), (0.5, 10)):
        with pytest.raises(ValueError, match="successes"):
            metrics.clopper_pearson(successes, trials)
    with pytest.raises(ValueError, match="confidence"):
        metrics.clopper_pearson(1, 2, 95)


def test_tpr_interval_is_that_of_the_count():
    scores, member = np.arange(300.0)[::-1], np.arange(300) % 3 != 0
    estimate = metrics.tpr_interval_at_fpr(scores, member, 0.1)
    hits = round(estimate.value * 200)
    assert estimate.value == metrics.tpr_at_fpr(scores, member, 0.1) == hits / 200
    np.testing.assert_allclose(estimate[1:3], stats.binomtest(hits, 200).proportion_ci(0.95, "exact"), atol=1e-9)
    assert estimate.n == 200


def test_tpr_interval_holds_at_its_threshold_and_not_at_the_rate():
    """What its docstring says: N(1, 1) against N(0, 1), 1000 of each, at an FPR of 1 %."""
    rng, member, truth = np.random.default_rng(8), np.arange(2000) < 1000, stats.norm.sf(stats.norm.isf(0.01) - 1)
    outside, beyond = np.zeros(2), np.zeros(2)
    for _ in range(200):
        scores = rng.normal(size=2000) + member
        actual = metrics.tpr_interval_at_fpr(scores, member, 0.01)
        at_it = stats.norm.sf(np.sort(scores[~member])[-11] - 1)  # called: what lies above the eleventh non-member
        outside += [truth > actual.high, truth < actual.low]
        beyond += [at_it > actual.high, at_it < actual.low]
    # Four standard deviations of 200 trials at 2.5 % are .044, at 15 and 27 % .101 and .126.
    assert (beyond / 200 < 0.025 + 0.044).all()
    np.testing.assert_array_less(np.abs(outside / 200 - [0.15, 0.27]), [0.101, 0.126])


def naive_delong(scores, member):
    """Placement values by a double loop."""
    kernel = np.array([[float(a > b) + 0.5 * (a == b) for b in scores[~member]] for a in scores[member]])
    variance = stats.tvar(kernel.mean(1)) / len(kernel) + stats.tvar(kernel.mean(0)) / kernel.shape[1]
    return kernel.mean(), np.sqrt(variance)


def test_auc_interval_is_delongs():
    rng = np.random.default_rng(3)
    member = rng.random(80) < 0.4
    scores = np.round(rng.normal(size=80) + member, 1)
    auc, error = naive_delong(scores, member)
    estimate = metrics.auc_interval(scores, member, 0.9)
    np.testing.assert_allclose(estimate[:3], [auc, auc - 1.6448536 * error, auc + 1.6448536 * error], atol=1e-7)


def test_auc_interval_covers():
    rng = np.random.default_rng(4)
    member = np.arange(120) < 60
    truth = stats.norm.cdf(1 / np.sqrt(2))  # AUC of N(1, 1) against N(0, 1)
    inside = 0
    for _ in range(400):
        estimate = metrics.auc_interval(rng.normal(size=120) + member, member)
        inside += estimate.low <= truth <= estimate.high
    # Nominal 95 %; with 400 trials four standard deviations are .044.
    assert abs(inside / 400 - 0.95) < 0.044


def test_a_perfect_auc_is_not_certain():
    scores, member = np.arange(20.0), np.arange(20) >= 12
    estimate = metrics.auc_interval(scores, member)
    assert estimate.value == estimate.high == 1.0
    assert estimate.low == pytest.approx(0.025 ** (1 / 8))  # all of 8 disjoint pairs in order
    assert metrics.auc_interval(-scores, member).low == 0.0
    with pytest.raises(ValueError, match="number of members=1"):
        metrics.auc_interval([1.0, 2.0, 3.0], [True, False, False])


@pytest.mark.parametrize(("members", "nonmembers"), [(2, 2), (8, 12), (30, 9)])
def test_pairs_that_all_compare_alike_are_not_certain(members, nonmembers):
    """At most u of disjoint pairs compare otherwise than the k seen, none of which did: (1 - u)^k = .05."""
    member = np.arange(members + nonmembers) < members
    u = 1 - 0.05 ** (1 / min(members, nonmembers))
    tied = metrics.auc_interval(np.full(len(member), 3.0), member, 0.9)
    np.testing.assert_allclose(tied[:3], [0.5, 0.5 - u / 2, 0.5 + u / 2])
    above = metrics.auc_interval(member.astype(float), member, 0.9)
    np.testing.assert_allclose(above[:3], [1, 1 - u, 1])
    below = metrics.auc_interval(~member, member, 0.9)
    np.testing.assert_allclose(below[:3], [0, 0, u])
    assert tied.n == len(member)


@given(st.lists(st.integers(0, 2), min_size=4, max_size=9), st.integers(2, 7))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_an_auc_interval_always_has_a_width(scores, members):
    member = np.arange(len(scores)) < min(members, len(scores) - 2)
    estimate = metrics.auc_interval(scores, member)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.high - estimate.low > 0.01


def test_balanced_accuracy_interval_covers_and_holds_the_value():
    rng = np.random.default_rng(5)
    member = np.arange(100) < 30
    truth = (stats.norm.sf(0.5, 1) + stats.norm.cdf(0.5)) / 2
    inside = 0
    for _ in range(400):
        scores = rng.normal(size=100) + member
        estimate = metrics.balanced_accuracy_interval(scores, member, 0.5)
        assert estimate.value == pytest.approx(metrics.balanced_accuracy(scores, member, 0.5))
        assert estimate.low < estimate.value < estimate.high
        inside += estimate.low <= truth <= estimate.high
    assert inside / 400 >= 0.95  # it is conservative


def test_mean_interval_is_students():
    values = np.random.default_rng(6).normal(size=7)
    estimate = metrics.mean_interval(values, unit="%")
    expected = stats.t.interval(0.95, 6, loc=values.mean(), scale=stats.sem(values))
    np.testing.assert_allclose(estimate[1:3], expected)
    assert (estimate.kind, estimate.unit, estimate.n) == ("measured", "%", 7)
    assert metrics.mean_interval([2.0]) == (2.0, None, None, "measured", "", 1)
    curves = np.random.default_rng(7).normal(size=(5, 3, 2))
    for i, part in enumerate(metrics.mean_band(curves, 0.9)):
        assert part[2, 1] == pytest.approx(metrics.mean_interval(curves[:, 2, 1], 0.9)[i])
    with pytest.raises(ValueError, match="number of values=1"):
        metrics.mean_band([[1.0, 2.0]])
    for bad, words in (([], "empty"), ([1.0, np.nan], "NaN"), ([[1.0]], "shape")):
        with pytest.raises(ValueError, match=words):
            metrics.mean_interval(bad)
