"""Exposure: published figures, ranks by sorting, and the skew-normal's tail against closed forms and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from gecko_jax import metrics
from gecko_jax.metrics.exposure import _fit, skew_normal_logcdf

REFERENCE = np.random.default_rng(0).gamma(20, 1.5, 10000)


def test_it_gives_known_figures():
    np.testing.assert_allclose(metrics.exposure([5.0, 10, 15], REFERENCE), [13.2877, 13.2877, 7.9302], atol=1e-3)
    actual = metrics.extrapolated_exposure([5.0, 10, 15], REFERENCE)
    np.testing.assert_allclose(actual, [19.343, 12.748, 7.774], atol=1e-3)
    assert metrics.extrapolated_exposure(5.0, REFERENCE) == actual[0]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(-1, 10))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_a_rank_is_a_mean_over_the_orders_of_equals(reference, value):
    below, equal = sum(r < value for r in reference), sum(r == value for r in reference)
    ranks = [1 + below + i for i in range(equal + 1)]  # the canary stands before i of its equals
    expected = math.log2(len(reference)) - math.log2(np.mean(ranks))
    assert metrics.exposure(value, reference) == pytest.approx(expected)


def test_a_model_that_says_the_same_of_all_has_memorized_nothing():
    assert metrics.exposure(3.0, np.full(1000, 3.0)) < 1


def test_the_least_is_below_zero():
    assert metrics.exposure(9.0, [1.0, 2.0]) == pytest.approx(math.log2(2 / 3))


def test_without_memorization_the_mean_is_that_of_a_uniform_rank():
    rng = np.random.default_rng(1)
    values = metrics.exposure(rng.normal(size=20000), rng.normal(size=20000))
    assert np.mean(values) == pytest.approx(1 / math.log(2), abs=0.05)  # the mean of -log2 of a uniform number


def test_the_extrapolation_goes_on_where_ranks_end():
    reference = stats.skewnorm(3.0, 10.0, 2.0).rvs(2000, random_state=2)
    values = np.array([9.0, 5.0, 0.0, -50.0, -1e4, -1e8])
    actual = metrics.extrapolated_exposure(values, reference)
    assert np.isfinite(actual).all() and (np.diff(actual) > 0).all()
    assert actual[3] > 1075  # a CDF below 2^-1075 is 0
    middle = np.quantile(reference, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(2 ** -metrics.extrapolated_exposure(middle, reference), [0.1, 0.5, 0.9], atol=0.03)


@pytest.mark.parametrize("scale, offset", [(1e-6, 0.0), (1e6, -1e7), (1.0, 1e4)])
def test_units_do_not_matter(scale, offset):
    reference = REFERENCE[:500]
    values = np.array([5.0, 20.0, 60.0])
    actual = metrics.extrapolated_exposure(values * scale + offset, reference * scale + offset)
    np.testing.assert_allclose(actual, metrics.extrapolated_exposure(values, reference), rtol=1e-3)


def test_a_likelihood_without_a_maximum_is_penalized():
    """Exponential values end sharply: unpenalized, the shape grows for ever, and with it the exposure just outside."""
    reference = np.random.default_rng(3).exponential(size=200)
    shape, location, scale = _fit(reference)

    def loss(a, at, log_scale):
        penalty = 0.875913 * math.log(1 + 0.85625 * a * a)
        return penalty - stats.skewnorm.logpdf(reference, a, at, math.exp(log_scale)).sum()

    here = loss(shape, location, math.log(scale))
    assert 5 < shape < 1000
    for step in (1e-2, -1e-2):
        others = [(shape * (1 + step), location), (shape, location + step)]
        assert all(loss(a, at, math.log(scale)) > here for a, at in others)
        assert loss(shape, location, math.log(scale) + step) > here
    mirrored = _fit(-reference)
    np.testing.assert_allclose(mirrored, (-shape, -location, scale), rtol=1e-2, atol=1e-3)
    assert 20 < metrics.extrapolated_exposure(-1.0, reference) < 1e6


TAIL = [-1e9, -1e6, -1e3, -60.0, -38.0, -20.0, -8.0, -3.0, -1.0, -1e-3, 0.0, 1e-3, 0.5, 2.0, 5.0, 8.0, 30.0]


@pytest.mark.parametrize("z", TAIL)
def test_the_tail_has_closed_forms(z):
    normal = special.log_ndtr(z)
    assert skew_normal_logcdf(z, 0.0) == pytest.approx(normal, rel=1e-10, abs=1e-13)
    assert skew_normal_logcdf(z, 1.0) == pytest.approx(2 * normal, rel=1e-10, abs=1e-13)  # Phi^2
    below = normal + math.log1p(special.ndtr(-z))  # Phi (2 - Phi) = 1 - (1 - Phi)^2
    assert skew_normal_logcdf(z, -1.0) == pytest.approx(below, rel=1e-10, abs=1e-13)


@pytest.mark.parametrize("shape", [-1e8, -1e4, 1e4, 1e8])
def test_an_extreme_shape_is_half_a_normal(shape):
    for z in (0.3, 1.0, 4.0):
        if shape > 0:
            above, below = math.log(2 * special.ndtr(z) - 1), -(1 + shape**2) * z**2 / 2  # to the leading term
        else:
            above, below = 0.0, math.log(2) + special.log_ndtr(-z)
        assert skew_normal_logcdf(z, shape) == pytest.approx(above, abs=3 / abs(shape))
        assert skew_normal_logcdf(-z, shape) == pytest.approx(below, rel=1e-4)


@given(st.floats(-30, 30), st.floats(-6, 6))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_it_is_scipys_where_that_is_accurate(shape, z):
    # Both tails by SciPy's upper one of the mirrored distribution: log F(z) = log(1 - F(-z; -shape)).
    actual, upper = skew_normal_logcdf(z, shape), skew_normal_logcdf(-z, -shape)
    assert math.exp(actual) + math.exp(upper) == pytest.approx(1, abs=1e-12)
    assert math.exp(actual) == pytest.approx(stats.skewnorm.cdf(z, shape), abs=1e-9)


@given(st.floats(0.1, 50), st.floats(-40, -1))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_far_out_it_is_the_naive_sum(shape, z):
    """A sum of the density, relative to its value at z, over a fine grid of 45 decay lengths."""

    def log_density(t):
        return math.log(2) + stats.norm.logpdf(t) + special.log_ndtr(shape * t)

    t = np.linspace(z - 45 / (-z * (1 + shape**2)), z, 200_001)
    relative = np.exp(log_density(t) - log_density(z))
    expected = log_density(z) + math.log(np.trapezoid(relative, t))
    assert skew_normal_logcdf(z, shape) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("find", [metrics.exposure, metrics.extrapolated_exposure])
def test_bad_input_is_named(find):
    for value, reference, words in (
        (math.nan, REFERENCE, "value holds 1 entr"),
        ([[1.0]], REFERENCE, "value has shape"),
        (1.0, [], "reference is empty"),
        (1.0, [[1.0]], "reference has shape"),
        (1.0, [1.0, math.inf], "reference holds 1 entr"),
    ):
        with pytest.raises(ValueError, match=words):
            find(value, reference)


def test_a_reference_that_cannot_be_fitted_is_named():
    with pytest.raises(ValueError, match="number of reference values=7"):
        metrics.extrapolated_exposure(1.0, np.arange(7.0))
    with pytest.raises(ValueError, match="throughout"):
        metrics.extrapolated_exposure(1.0, np.full(20, 0.1))
