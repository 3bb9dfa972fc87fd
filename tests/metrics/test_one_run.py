"""One-run bounds: published figures, the formulae by loops, their error counted exactly, and simulated audits."""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gecko_jax import metrics

CLAIMS = [(0.0, "dp"), (1e-4, "dp"), (1e-5, "gaussian")]
bound = functools.cache(metrics.one_run_epsilon)


@pytest.mark.parametrize(
    ("canaries", "guesses", "correct", "assumption", "expected"),
    [
        (1000, 1000, 600, "dp", 0.2972),
        (1000, 200, 150, "dp", 0.82),
        (1000, 100, 100, "dp", 3.4654),
        (5000, 500, 450, "dp", 1.9414),
        (5000, 50, 50, "dp", 2.6392),
        (5000, 5000, 2700, "dp", 0.113),
        (1000, 200, 150, "gaussian", 1.2969),
        (1000, 100, 100, "gaussian", 5.549),
    ],
)
def test_it_gives_known_figures(canaries, guesses, correct, assumption, expected):
    actual = metrics.one_run_epsilon(correct, guesses, canaries, 1e-5, 0.95, assumption)
    assert actual == pytest.approx(expected, abs=1e-3)


def naive_chance(v, r, m, delta, epsilon):
    """The theorem's bound on P[v or more right], term by term."""
    count = stats.binom(r, 1 / (1 + math.exp(-epsilon)))
    spread = [sum(count.pmf(j) for j in range(v - i, v)) / i for i in range(1, v + 1)]
    return min(1.0, count.sf(v - 1) + 2 * m * delta * max(spread))


@given(st.integers(1, 25), st.floats(0, 1), st.integers(0, 30), st.sampled_from([0.0, 1e-4, 1e-2]))
@settings(derandomize=True, deadline=None, max_examples=30)
def test_dp_is_the_largest_epsilon_that_the_theorem_refutes(r, share, abstained, delta):
    v, m = max(1, round(share * r)), r + abstained
    actual = metrics.one_run_epsilon(v, r, m, delta, 0.9)
    assert naive_chance(v, r, m, delta, actual + 1e-6) >= 0.1
    assert actual == 0 or naive_chance(v, r, m, delta, actual - 1e-6) < 0.1


def naive_refutes(v, r, m, alpha, mu):
    """The recursion in plain numbers, to its end."""
    normal = NormalDist()
    h, q = {v: alpha * (r - v) / m}, {v: alpha * v / m}
    for i in range(v - 1, -1, -1):
        h[i] = max(h[i + 1], normal.cdf(normal.inv_cdf(q[i + 1]) - mu)) if q[i + 1] < 1 else 1.0
        q[i] = q[i + 1] + i / (r - i) * (h[i] - h[i + 1])
    return q[0] + h[0] > r / m


@given(st.integers(1, 60), st.floats(0, 1), st.integers(0, 60), st.sampled_from([0.9, 0.99]))
@settings(derandomize=True, deadline=None, max_examples=30)
def test_gaussian_is_the_largest_mu_that_the_recursion_refutes(r, share, abstained, confidence):
    v, m = max(1, round(share * r)), r + abstained
    low, high = 0.0, 20.0
    if naive_refutes(v, r, m, 1 - confidence, 0.0):
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if naive_refutes(v, r, m, 1 - confidence, middle) else (low, middle)
    actual = metrics.one_run_epsilon(v, r, m, 1e-3, confidence, "gaussian")
    assert actual == pytest.approx(metrics.gaussian_epsilon(low, 1e-3), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize(("delta", "assumption"), CLAIMS)
@pytest.mark.parametrize(("r", "m"), [(1, 1), (10, 10), (30, 100), (101, 101)])
def test_at_epsilon_0_it_claims_more_in_no_more_than_its_error(delta, assumption, r, m):
    """Coins are guessed blindly: a sum over all outcomes."""
    claims = sum(stats.binom.pmf(v, r, 0.5) for v in range(r + 1) if bound(v, r, m, delta, 0.95, assumption) > 0)
    assert claims <= 0.05
    if r > 10 and assumption == "dp":
        assert claims > 0.01  # and it does not buy that by saying nothing


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_at_the_epsilon_of_randomized_response_it_stays_below_and_comes_near(epsilon):
    truth = stats.logistic.cdf(epsilon)
    for r, delta in ((40, 0.0), (40, 0.001)):
        right = delta + (1 - delta) * truth  # a coin is told outright with chance delta
        claims = sum(stats.binom.pmf(v, r, right) for v in range(r + 1) if bound(v, r, r, delta) > epsilon)
        assert claims <= 0.05
    m = 200_000
    assert 0.97 * epsilon < metrics.one_run_epsilon(round(truth * m), m, m) < epsilon


def audits(mu, m, r, runs, seed=0):
    """Right guesses in each of `runs` audits of m canaries, each under a Gaussian mechanism of its own."""
    rng = np.random.default_rng(seed)
    member = rng.random((runs, m)) < 0.5
    order = np.argsort(rng.normal(size=(runs, m)) + mu * member, -1)
    ranked = np.take_along_axis(member, order, -1)
    return ranked[:, m - r // 2 :].sum(-1) + (~ranked[:, : r // 2]).sum(-1)


def within_its_error(claims, runs):
    return stats.binomtest(int(claims), runs, 0.05, "greater").pvalue > 1e-3


@pytest.mark.parametrize("r", [20, 100, 200])
def test_at_the_epsilon_of_a_gaussian_mechanism_it_stays_below(r):
    mu, delta = 1.0, 1e-5
    for assumption in ("gaussian", "dp"):
        actual = np.array([bound(int(v), r, 200, delta, 0.95, assumption) for v in audits(mu, 200, r, 1000)])
        assert within_its_error((actual > metrics.gaussian_epsilon(mu, delta)).sum(), 1000)
        assert np.median(actual) > 0


def test_many_canaries_come_near_the_gaussian_mechanism():
    truth = metrics.gaussian_epsilon(1.0, 1e-5)
    right = [int(v) for v in audits(1.0, 20000, 200, 20)]
    gaussian, dp = (np.median([bound(v, 200, 20000, 1e-5, 0.95, how) for v in right]) for how in ("gaussian", "dp"))
    assert 0.6 * truth < gaussian < truth and dp < gaussian


@given(st.integers(2, 80), st.integers(0, 40), st.floats(0, 1), st.sampled_from(CLAIMS))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_more_right_ones_and_less_confidence_never_lower_it(r, abstained, share, claim):
    v, m = int(share * (r - 1)), r + abstained
    low = metrics.one_run_epsilon(v, r, m, claim[0], 0.95, claim[1])
    assert low <= metrics.one_run_epsilon(v + 1, r, m, claim[0], 0.95, claim[1]) + 1e-7
    assert low <= metrics.one_run_epsilon(v, r, m, claim[0], 0.8, claim[1]) + 1e-7


@pytest.mark.parametrize(("delta", "assumption"), [CLAIMS[0], CLAIMS[2]])
@pytest.mark.parametrize(("guesses", "digits"), [(20, 3), ([10, 20, 60], 0)])  # 0 digits: ties everywhere
def test_a_thousand_audits_at_epsilon_0(guesses, digits, delta, assumption):
    rng, claims = np.random.default_rng(5), 0
    for run in range(1000):
        scores, member = np.round(rng.normal(size=60), digits), rng.random(60) < 0.5
        actual = metrics.one_run_epsilon_from_scores(scores, member, guesses, delta, 0.95, assumption, seed=run)
        claims += actual.value > 0
    assert claims <= 50  # 25 of 1,000, where 5 % are allowed


def test_equal_scores_tell_nothing_however_the_truth_is_ordered():
    member = np.arange(40) < 20
    for truth in (member, ~member):
        right = [metrics.one_run_epsilon_from_scores(np.zeros(40), truth, 20, seed=seed).correct for seed in range(400)]
        # Hypergeometric: variance at most that of 20 fair coins.
        assert abs(np.mean(right) - 10) < 4 * math.sqrt(5 / 400)


def test_guesses_are_the_ends_of_the_ranking():
    rng = np.random.default_rng(6)
    member = rng.random(101) < 0.5
    scores = rng.permutation(101) + 30.0 * member
    for r in (1, 2, 7, 100, 101):
        ranked = member[np.argsort(scores)]
        expected = ranked[::-1][: (r + 1) // 2].sum() + (~ranked[: r // 2]).sum()
        actual = metrics.one_run_epsilon_from_scores(scores, member, r, 1e-5, 0.9)
        assert (actual.guesses, actual.correct, actual.epsilon.n) == (r, expected, 101)
        assert actual.value == metrics.one_run_epsilon(int(expected), r, 101, 1e-5, 0.9)
        assert (actual.epsilon.kind, actual.choice) == ("measured", "fixed beforehand")


def test_several_numbers_of_guesses_are_paid_for():
    rng = np.random.default_rng(7)
    member = rng.random(500) < 0.5
    scores = rng.normal(size=500) + 2 * member
    actual = metrics.one_run_epsilon_from_scores(scores, member, [500, 100, 20])
    each = [metrics.one_run_epsilon_from_scores(scores, member, r, confidence=1 - 0.05 / 3) for r in (500, 100, 20)]
    assert actual[:3] == max(each, key=lambda one: one.value)[:3]
    assert actual.choice == "best of 3 fixed beforehand, each with 1/3 of the error"


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((3, 2, 4), "correct=3"),
        ((1, 5, 4), "guesses=5"),
        ((-1, 2, 4), "correct=-1"),
        ((1.0, 2, 4), "correct=1.0"),
        ((0, 0, 4), "guesses=0"),
        ((0, 1, 0), "canaries=0"),
        ((1, 2, 4, 1.0), "delta=1.0"),
        ((1, 2, 4, 0.0, 0.0), "confidence=0.0"),
        ((1, 2, 4, 0.0, 0.95, "gaussian"), "delta=0"),
    ],
)
def test_bad_counts_are_named(counts, words):
    with pytest.raises(ValueError, match=words):
        metrics.one_run_epsilon(*counts)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"guesses": 5}, "guesses=5"),
        ({"guesses": 2.0}, "guesses="),
        ({"guesses": []}, "guesses is empty"),
        ({"guesses": [[2]]}, "guesses has shape"),
        ({"scores": [1.0, math.nan, 1.0, 1.0]}, "scores holds 1 NaN"),
        ({"scores": np.arange(100), "member": np.arange(100) < 90}, "member marks 90 of 100 canaries"),
        ({"assumption": "normal"}, "assumption='normal'"),
        ({"confidence": 2}, "confidence=2"),
    ],
)
def test_bad_scores_are_named(setting, words):
    with pytest.raises(ValueError, match=words):
        metrics.one_run_epsilon_from_scores(
            **{"scores": [1.0, 2, 3, 4], "member": [True, False] * 2, "guesses": 2, **setting}
        )
