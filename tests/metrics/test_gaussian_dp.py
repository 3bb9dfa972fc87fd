"""The Gaussian mechanism's epsilon against its hockey-stick divergence, integrated numerically."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from gecko_jax import metrics
from gecko_jax.metrics.gaussian_dp import check_claim


@given(st.floats(0.2, 6), st.sampled_from([1e-6, 1e-3, 0.1]))
@settings(derandomize=True, deadline=None, max_examples=12)
def test_delta_is_the_divergence_at_epsilon(mu, delta):
    epsilon = metrics.gaussian_epsilon(mu, delta)

    def excess(x):  # where N(mu, 1) exceeds e^epsilon N(0, 1): from epsilon / mu + mu / 2 on
        return stats.norm.pdf(x, mu) - math.exp(epsilon) * stats.norm.pdf(x)

    start = epsilon / mu + mu / 2
    actual = integrate.quad(excess, start, start + 15, epsabs=1e-14, limit=200)[0]
    assert actual == pytest.approx(delta, rel=1e-5) if epsilon > 0 else actual <= delta


def test_the_ends():
    assert metrics.gaussian_epsilon(0, 1e-5) == metrics.gaussian_epsilon(1e-9, 1e-5) == 0
    assert metrics.gaussian_epsilon(math.inf, 1e-5) == math.inf
    assert metrics.gaussian_epsilon(1e3, 1e-5) == pytest.approx(1e6 / 2, rel=0.01)
    for delta in (0, 1, -0.1, math.nan):
        with pytest.raises(ValueError, match="delta="):
            metrics.gaussian_epsilon(1.0, delta)
    for mu in (-1.0, math.nan):
        with pytest.raises(ValueError, match="mu="):
            metrics.gaussian_epsilon(mu, 1e-5)


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        ((1e-5, 0.95, "gausian"), "Did you mean 'gaussian'"),
        ((1e-5, 95, "dp"), "confidence=95"),
        ((1e-5, math.nan, "dp"), "confidence=nan"),
        ((1.0, 0.95, "dp"), "delta=1.0"),
        ((-1e-9, 0.95, "dp"), "delta=-1e-09"),
        ((0, 0.95, "gaussian"), "delta=0 gives a Gaussian mechanism no finite epsilon"),
    ],
)
def test_a_claim_that_cannot_be_made_is_refused(claim, words):
    with pytest.raises(ValueError, match=words):
        check_claim(*claim)
    check_claim(0.0, 0.95, "dp")
