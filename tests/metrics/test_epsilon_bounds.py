"""Lower bounds of epsilon: published figures, their error counted exactly over all outcomes, and simulated audits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gecko_jax import metrics
from gecko_jax.metrics.epsilon_bounds import _half

CLAIMS = [(0.0, "dp"), (0.01, "dp"), (1e-5, "gaussian")]


@pytest.mark.parametrize(
    ("counts", "expected"), [((500, 1000, 10, 1000), 3.242), ((100, 1000, 0, 1000), 3.1045), ((0, 9, 9, 9), 0.0)]
)
def test_it_gives_known_figures(counts, expected):
    assert metrics.clopper_pearson_epsilon(*counts) == pytest.approx(expected, abs=1e-3)


def naive(tp, members, fp, nonmembers, delta, confidence, assumption):
    """By SciPy's intervals; the complement's rates from counts of their own."""

    def bounds(k, n):
        return stats.binomtest(k, n).proportion_ci(confidence, "exact")

    tpr, fpr = bounds(tp, members), bounds(fp, nonmembers)
    tnr, fnr = bounds(nonmembers - fp, nonmembers), bounds(members - tp, members)
    if assumption == "gaussian":
        mu = stats.norm.ppf(1 - fpr.high) - stats.norm.ppf(1 - tpr.low)
        return metrics.gaussian_epsilon(max(mu, 0), delta)
    ratios = [(tpr.low - delta) / fpr.high, (tnr.low - delta) / fnr.high]
    return max([0.0, *(math.log(ratio) for ratio in ratios if ratio > 0)])


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0, 1), st.floats(0, 1), st.sampled_from(CLAIMS))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_it_is_the_naive_formula(members, nonmembers, tpr, fpr, claim):
    counts = (int(tpr * members), members, int(fpr * nonmembers), nonmembers)
    actual = metrics.clopper_pearson_epsilon(*counts, claim[0], 0.9, claim[1])
    assert actual == pytest.approx(naive(*counts, claim[0], 0.9, claim[1]), rel=1e-6, abs=1e-9)


def exceeds(epsilon, tpr, fpr, n, delta, assumption):
    """P[bound > epsilon] over n + n independent trials: a sum over all outcomes."""
    weights = np.outer(stats.binom.pmf(np.arange(n + 1), n, tpr), stats.binom.pmf(np.arange(n + 1), n, fpr))
    counts = [(tp, n, fp, n) for tp in range(n + 1) for fp in range(n + 1)]
    bounds = np.array([metrics.clopper_pearson_epsilon(*one, delta, 0.95, assumption) for one in counts])
    return weights.ravel()[bounds > epsilon].sum()


@pytest.mark.parametrize(("delta", "assumption"), CLAIMS)
@pytest.mark.parametrize("rate", [0.03, 0.5, 0.9])
def test_at_epsilon_0_it_claims_more_in_no_more_than_its_error(delta, assumption, rate):
    assert exceeds(0.0, rate, rate, 20, delta, assumption) <= 0.05


def gaussian_rates(mu, threshold):
    return stats.norm.sf(threshold - mu), stats.norm.sf(threshold)


def response(epsilon, delta=0.0):
    """Randomised response that tells the truth outright with chance delta: (TPR, FPR) of "it said yes"."""
    truth = stats.logistic.cdf(epsilon)
    return delta + (1 - delta) * truth, (1 - delta) * (1 - truth)


EPSILON = metrics.gaussian_epsilon(1.5, 0.1)
KNOWN = {  # (epsilon, (TPR, FPR), delta, assumption)
    "response": (1.5, response(1.5), 0.0, "dp"),
    "response that slips": (1.0, response(1.0, 0.01), 0.01, "dp"),
    "gaussian": (metrics.gaussian_epsilon(1.5, 1e-5), gaussian_rates(1.5, 1.0), 1e-5, "gaussian"),
    # At epsilon / mu + mu / 2, where TPR - e^epsilon FPR is delta in full.
    "gaussian as dp": (EPSILON, gaussian_rates(1.5, EPSILON / 1.5 + 0.75), 0.1, "dp"),
    # Only the complement shows this one: members are never missed by much, non-members called half of the time.
    "complement": (2.0, (1 - 0.5 * math.exp(-2), 0.5), 0.0, "dp"),
}


@pytest.mark.parametrize("name", KNOWN)
def test_at_a_known_epsilon_it_stays_below_and_comes_near(name):
    epsilon, (tpr, fpr), delta, assumption = KNOWN[name]
    assert exceeds(epsilon, tpr, fpr, 20, delta, assumption) <= 0.05
    n = 10**7
    near = metrics.clopper_pearson_epsilon(round(tpr * n), n, round(fpr * n), n, delta, 0.95, assumption)
    assert 0.95 * epsilon < near <= epsilon


THRESHOLDS = {"one": 0.5, "several": np.linspace(-2, 2, 9), "split": "split"}


def simulate(draw, epsilon, delta, assumption, threshold, runs=1000):
    """How many of `runs` audits of 40 + 40 trials claim more than epsilon, and the bounds."""
    rng, member = np.random.default_rng(0), np.arange(80) % 2 == 0
    bounds = [
        metrics.epsilon_lower_bound(draw(rng, member), member, delta, 0.95, threshold, assumption, seed=run).value
        for run in range(runs)
    ]
    return sum(bound > epsilon for bound in bounds), bounds


def within_its_error(claims, runs=1000):
    """Whether an error of 5 % may show itself so often: one in a thousand such tests says no by chance."""
    return stats.binomtest(claims, runs, 0.05, "greater").pvalue > 1e-3


@pytest.mark.parametrize(("delta", "assumption"), [CLAIMS[0], CLAIMS[2]])
@pytest.mark.parametrize("how", THRESHOLDS)
def test_a_thousand_audits_at_epsilon_0(how, delta, assumption):
    def draw(rng, member):
        return np.round(rng.normal(size=len(member)), 1)  # with ties

    assert (claims := simulate(draw, 0.0, delta, assumption, THRESHOLDS[how])[0]) <= 50, claims  # of 1,000


@pytest.mark.parametrize("how", THRESHOLDS)
def test_audits_of_a_gaussian_mechanism(how):
    epsilon = metrics.gaussian_epsilon(1.0, 1e-5)
    claims, bounds = simulate(lambda rng, m: rng.normal(size=80) + m, epsilon, 1e-5, "gaussian", THRESHOLDS[how], 300)
    assert within_its_error(claims, 300) and np.mean(bounds) > 0.02 * epsilon


@pytest.mark.parametrize("how", THRESHOLDS)
def test_many_trials_come_near(how):
    rng, member = np.random.default_rng(1), np.arange(40000) % 2 == 0
    scores = rng.normal(size=40000) + member
    actual = metrics.epsilon_lower_bound(scores, member, 1e-5, 0.95, THRESHOLDS[how], "gaussian")
    assert 0.9 * metrics.gaussian_epsilon(1, 1e-5) < actual.value <= metrics.gaussian_epsilon(1, 1e-5)
    answers = rng.random(40000) < np.where(member, *response(2.0))
    assert 1.8 < metrics.epsilon_lower_bound(answers, member, threshold=THRESHOLDS[how]).value <= 2


def test_several_thresholds_are_paid_for():
    rng, member = np.random.default_rng(2), np.arange(300) % 3 == 0
    scores = np.round(rng.normal(size=300) + 2 * member, 1)
    several = [3.0, 1.0, 0.0, np.inf]
    actual = metrics.epsilon_lower_bound(scores, member, threshold=several)
    each = [metrics.epsilon_lower_bound(scores, member, 0.0, 1 - 0.05 / 4, t) for t in several]
    best = max(each, key=lambda one: one.value)
    assert actual[:4] == best[:4] and actual.choice == "best of 4 fixed beforehand, each with 1/4 of the error"
    assert actual.value < metrics.epsilon_lower_bound(scores, member, threshold=best.threshold).value


def test_it_says_what_it_was_read_off():
    rng, member = np.random.default_rng(3), np.arange(200) % 4 == 0
    scores = np.round(rng.normal(size=200) + 2 * member, 1)
    actual = metrics.epsilon_lower_bound(scores, member, threshold=1.0)
    tp, fp = int((scores[member] >= 1).sum()), int((scores[~member] >= 1).sum())
    assert (actual.threshold, actual.tpr.value, actual.fpr.value) == (1.0, tp / 50, fp / 150)
    np.testing.assert_allclose(actual.tpr[1:3], metrics.clopper_pearson(tp, 50))
    np.testing.assert_allclose(actual.fpr[1:3], metrics.clopper_pearson(fp, 150))
    assert actual.value == actual.epsilon.value == metrics.clopper_pearson_epsilon(tp, 50, fp, 150) > 0
    assert (actual.epsilon.kind, actual.epsilon.n, actual.epsilon.low, actual.tpr.n) == ("measured", 200, None, 50)
    split = metrics.epsilon_lower_bound(scores, member)
    assert (split.tpr.n, split.fpr.n, split.epsilon.n) == (25, 75, 100)
    assert split.choice == "chosen on a random half (25 + 75 records), judged on the other"
    assert split == metrics.epsilon_lower_bound(scores, member) != metrics.epsilon_lower_bound(scores, member, seed=1)


def test_the_judging_half_has_no_say_in_the_threshold():
    rng, member = np.random.default_rng(4), np.arange(80) % 2 == 0
    scores = rng.normal(size=80) + 3 * member
    threshold = metrics.epsilon_lower_bound(scores, member, seed=9).threshold
    judged = ~_half(member, 9)
    assert (judged & member).sum() == (judged & ~member).sum() == 20
    other = np.where(judged, rng.permutation(100 * scores), scores)
    assert metrics.epsilon_lower_bound(other, member, seed=9).threshold == threshold
    assert threshold in scores[~judged]
    assert metrics.epsilon_lower_bound(np.where(judged, scores, scores + 5), member, seed=9).threshold != threshold


def test_scores_that_tell_nothing_and_scores_that_tell_all():
    member = np.arange(100) < 50
    for threshold in ("split", 0.0, 1.0, [-np.inf, 0.0, np.inf]):
        for delta, assumption in CLAIMS:
            claim = {"delta": delta, "threshold": threshold, "assumption": assumption}
            assert metrics.epsilon_lower_bound(np.zeros(100), member, **claim).value == 0
            assert metrics.epsilon_lower_bound(-1.0 * member, member, **claim).value == 0
    best = math.log((0.025 ** (1 / 25)) / (1 - 0.025 ** (1 / 25)))
    scores = np.where(member, np.inf, -np.inf)
    assert metrics.epsilon_lower_bound(scores, member).value == pytest.approx(best)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"threshold": "halves"}, "threshold='halves' is not known"),
        ({"threshold": math.nan}, "threshold holds NaN"),
        ({"threshold": []}, "threshold is empty"),
        ({"threshold": [[1.0]]}, "threshold has shape"),
        ({"confidence": 1.0}, "confidence=1.0"),
        ({"delta": -1}, "delta=-1"),
        ({"assumption": "gaussian"}, "delta=0"),
        ({"member": [True, False, False, False]}, "number of members to split=1"),
        ({"member": [True, True, True, False]}, "number of non-members to split=1"),
        ({"member": [True] * 4}, "no non-member"),
        ({"scores": [1.0, math.nan, 1.0, 1.0]}, "scores holds 1 NaN"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_bad_input_is_named(setting, words):
    with pytest.raises(ValueError, match=words):
        metrics.epsilon_lower_bound(**{"scores": [1.0, 2, 3, 4], "member": [True, False] * 2, **setting})


@pytest.mark.parametrize("counts", [(3, 2, 0, 2), (1, 2, -1, 2), (0.5, 2, 0, 2), (0, 0, 0, 2)])
def test_bad_counts_are_named(counts):
    with pytest.raises(ValueError, match="successes"):
        metrics.clopper_pearson_epsilon(*counts)
