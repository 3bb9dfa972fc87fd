"""Paired differences: DeLong's covariance by a double loop, coverage under correlation, Student t by SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gecko_jax import metrics


def naive_delong(scores_a, scores_b, member):
    """(difference, its standard error) from the two placement covariance matrices."""
    inside, outside = [], []
    for scores in (scores_a, scores_b):
        kernel = np.array([[float(a > b) + 0.5 * (a == b) for b in scores[~member]] for a in scores[member]])
        inside.append(kernel.mean(1))
        outside.append(kernel.mean(0))
    covariance = np.cov(inside) / member.sum() + np.cov(outside) / (~member).sum()
    contrast = np.array([1.0, -1.0])
    return np.mean(inside[0]) - np.mean(inside[1]), np.sqrt(contrast @ covariance @ contrast)


@pytest.mark.parametrize("digits", [8, 0])
def test_it_is_delongs(digits):
    rng = np.random.default_rng(0)
    member = rng.random(90) < 0.4
    shared = rng.normal(size=90) + member
    a, b = np.round(shared + rng.normal(size=90), digits), np.round(shared + 0.5 * rng.normal(size=90), digits)
    difference, error = naive_delong(a, b, member)
    actual = metrics.paired_auc_difference(a, b, member, 0.9)
    expected = [difference, difference - 1.6448536 * error, difference + 1.6448536 * error]
    np.testing.assert_allclose(actual[:3], expected, atol=1e-7)
    assert (actual.n, actual.kind) == (90, "measured")
    assert actual.value == pytest.approx(metrics.roc_auc(a, member) - metrics.roc_auc(b, member))
    other = metrics.paired_auc_difference(b, a, member, 0.9)
    np.testing.assert_allclose(other[:3], [-actual.value, -actual.high, -actual.low], atol=1e-12)


def test_it_covers_and_pairing_helps():
    rng, member, inside, widths = np.random.default_rng(1), np.arange(120) < 60, 0, []
    sd = np.sqrt([2.0, 1.25])  # AUC of a shift by 1 under noise of 1 + 1 and of 1 + 1/4
    truth = np.diff(stats.norm.cdf(1 / (np.sqrt(2) * sd)))[0]
    for _ in range(400):
        shared = rng.normal(size=120) + member
        a, b = shared + 0.5 * rng.normal(size=120), shared + rng.normal(size=120)
        actual = metrics.paired_auc_difference(a, b, member)
        inside += actual.low <= truth <= actual.high
        alone = [metrics.auc_interval(scores, member) for scores in (a, b)]
        widths.append([actual.high - actual.low, sum(one.high - one.low for one in alone)])
    # Nominal 95 %; with 400 trials four standard deviations are .044.
    assert abs(inside / 400 - 0.95) < 0.044
    assert np.mean(widths, 0)[0] < 0.6 * np.mean(widths, 0)[1]


def test_scales_do_not_matter():
    rng, member = np.random.default_rng(2), np.arange(50) % 2 == 0
    a, b = rng.normal(size=(2, 50)) + member[None]
    actual = metrics.paired_auc_difference(np.exp(a), 1e6 * b - 3, member)
    np.testing.assert_allclose(actual[:3], metrics.paired_auc_difference(a, b, member)[:3])


def test_no_difference_seen_is_not_certain():
    member = np.arange(30) < 12
    scores = np.random.default_rng(3).normal(size=30)
    none_of_12 = 1 - 0.025 ** (1 / 12)
    same = metrics.paired_auc_difference(scores, np.exp(scores), member)
    np.testing.assert_allclose(same[:3], [0, -none_of_12, none_of_12])
    perfect = metrics.paired_auc_difference(member, ~member, member)
    np.testing.assert_allclose(perfect[:3], [1, 1 - 2 * none_of_12, 1])
    half = metrics.paired_auc_difference(np.zeros(30), member, member)
    np.testing.assert_allclose(half[:3], [-0.5, -0.5 - none_of_12 / 2, -0.5 + none_of_12 * 1.5])


def test_paired_differences_are_students():
    a, b = np.random.default_rng(4).normal(size=(2, 9))
    actual = metrics.paired_difference(a, b, 0.9, unit="%")
    test = stats.ttest_rel(a, b)
    assert actual.value == pytest.approx(np.mean(a - b))
    np.testing.assert_allclose(actual[1:3], test.confidence_interval(0.9))
    assert (actual.unit, actual.n) == ("%", 9)
    assert metrics.paired_difference([2.0], [0.5]) == (1.5, None, None, "measured", "", 1)


def test_bad_input_is_named():
    member = [True, True, False, False]
    for a, b, truth, words in (
        ([1.0, 2, 3, np.nan], [1.0, 2, 3, 4], member, "NaN"),
        ([1.0, 2, 3, 4], [1.0, 2, 3], member, "member has shape"),
        ([1.0, 2, 3, 4], [1.0, 2, 3, 4], [True, False, False, False], "number of members=1"),
        ([1.0, 2, 3, 4], [1.0, 2, 3, 4], [True, True, True, False], "number of non-members=1"),
    ):
        with pytest.raises(ValueError, match=words):
            metrics.paired_auc_difference(a, b, truth)
    with pytest.raises(ValueError, match="confidence=95"):
        metrics.paired_auc_difference([1.0, 2, 3, 4], [1.0, 3, 2, 4], member, 95)
    for a, b, words in (
        ([], [], "values_a is empty"),
        ([1.0], [1.0, 2.0], "values_b has shape"),
        ([[1.0]], [1.0], "values_a has shape"),
        ([1.0, 2.0], [1.0, np.inf], "values_b holds 1 entr"),
    ):
        with pytest.raises(ValueError, match=words):
            metrics.paired_difference(a, b)
