"""Positive predictive value against a drawn population, and its interval by its coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gecko_jax import metrics

PRIORS = [0.01, 0.1]


@pytest.mark.parametrize("prior", PRIORS)
def test_it_is_the_share_of_members_among_the_called(prior):
    rng = np.random.default_rng(0)
    member = rng.random(2_000_000) < prior
    called = rng.random(2_000_000) < np.where(member, 0.6, 0.05)
    share = member[called].mean()
    error = np.sqrt(share * (1 - share) / called.sum())
    assert abs(metrics.positive_predictive_value(0.6, 0.05, prior) - share) < 4 * error


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.001, 0.999))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_it_lies_in_0_to_1_and_falls_with_the_fpr(tpr, fpr, prior):
    value = metrics.positive_predictive_value(tpr, fpr, prior)
    assert 0 <= value <= 1
    assert metrics.positive_predictive_value(tpr, min(1.0, fpr + 0.1), prior) <= max(value, prior)
    assert metrics.positive_predictive_value(fpr, fpr, prior) == pytest.approx(prior)  # what is known without it


def test_it_takes_curves_and_a_call_of_nobody_says_nothing():
    actual = metrics.positive_predictive_value([0.0, 0.5, 1.0], [0.0, 0.0, 1.0], 0.1)
    np.testing.assert_allclose(actual, [0.1, 1.0, 0.1])
    assert isinstance(metrics.positive_predictive_value(1, 0, 0.5), float)


@pytest.mark.parametrize("prior", PRIORS)
def test_the_interval_covers_and_holds_the_value(prior):
    rng, member, inside = np.random.default_rng(1), np.arange(150) < 50, 0
    truth = metrics.positive_predictive_value(0.6, 0.05, prior)
    for _ in range(400):
        scores = (rng.random(150) < np.where(member, 0.6, 0.05)).astype(float)
        actual = metrics.predictive_value_interval(scores, member, 0.5, prior)
        rates = scores[member].mean(), scores[~member].mean()
        assert actual.value == pytest.approx(metrics.positive_predictive_value(*rates, prior))
        assert 0 <= actual.low <= actual.value <= actual.high <= 1 and (actual.n, actual.kind) == (150, "measured")
        inside += actual.low <= truth <= actual.high
    assert inside / 400 >= 0.95  # it is conservative


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("fpr", [0.0, 0.01, 0.1, 1.0])
def test_at_an_fpr_it_is_that_of_the_threshold_there(prior, fpr):
    rng, member = np.random.default_rng(2), np.arange(300) % 3 == 0
    scores = np.round(rng.normal(size=300) + 2 * member, 1)  # with ties
    thresholds = [t for t in np.append(np.unique(scores), np.inf) if (scores[~member] >= t).mean() <= fpr]
    expected = metrics.predictive_value_interval(scores, member, min(thresholds), prior, 0.9)
    assert metrics.predictive_value_interval_at_fpr(scores, member, fpr, prior, 0.9) == pytest.approx(expected)


def test_nobody_called_is_the_prior_with_the_widest_interval():
    member = np.arange(20) < 10
    actual = metrics.predictive_value_interval(np.zeros(20), member, 1.0, 0.1)
    assert (actual.value, actual.low, actual.high) == (0.1, 0.0, 1.0)
    assert metrics.predictive_value_interval_at_fpr(np.zeros(20), member, 0.5, 0.1) == actual


def test_bad_input_is_named():
    for prior in (0, 1, 10, np.nan):
        with pytest.raises(ValueError, match="prior="):
            metrics.positive_predictive_value(0.5, 0.5, prior)
    for rates, name in (((1.1, 0.5), "tpr"), ((0.5, -0.1), "fpr"), ((0.5, np.nan), "fpr")):
        with pytest.raises(ValueError, match=f"{name} holds values outside"):
            metrics.positive_predictive_value(*rates, 0.5)
    scores, member = np.arange(4.0), [True, False] * 2
    with pytest.raises(ValueError, match="confidence=95"):
        metrics.predictive_value_interval(scores, member, 1.0, 0.1, 95)
    with pytest.raises(ValueError, match="threshold holds NaN"):
        metrics.predictive_value_interval(scores, member, np.nan, 0.1)
    with pytest.raises(ValueError, match="fpr=2"):
        metrics.predictive_value_interval_at_fpr(scores, member, 2, 0.1)
