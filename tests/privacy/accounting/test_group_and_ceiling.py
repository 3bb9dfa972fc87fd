"""What a guarantee leaves to an attack, and to a person of several records: exact cases and brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import special, stats

from gecko_jax import metrics, privacy

RATES = np.array([0.0, 1e-4, 0.01, 0.3, 0.9, 1.0])


@pytest.mark.parametrize("epsilon, delta", [(0.0, 0.0), (0.5, 0.0), (2.0, 0.01), (50.0, 1e-5), (1e4, 0.0)])
def test_a_ceiling_is_the_least_of_both_directions(epsilon, delta):
    ceilings = privacy.tpr_ceiling(epsilon, RATES, delta)
    for rate, value in zip(RATES, ceilings, strict=True):
        called = math.exp(min(epsilon, 700)) * rate + delta
        passed = 1 - math.exp(-epsilon) * (1 - delta - rate)
        assert value == pytest.approx(min(1.0, called, passed), abs=1e-12)
    assert isinstance(privacy.tpr_ceiling(epsilon, 0.01), float)
    assert privacy.tpr_ceiling(math.inf, RATES).tolist() == [1.0] * len(RATES)


def test_randomized_response_reaches_its_ceiling():
    truth = stats.logistic.cdf(1.5)
    assert privacy.tpr_ceiling(1.5, 1 - truth) == pytest.approx(truth)


def test_a_runs_curve_lies_between_the_attack_and_the_single_point():
    """One sampled step: the most powerful test by Neyman and Pearson is a threshold on the noised sum."""
    rate, noise = 0.3, 0.8
    epsilon = privacy.epsilon(privacy.poisson(1000, 1000 * rate, 1), noise, 1e-5)
    thresholds = np.linspace(-3, 5, 60)
    fpr = stats.norm.sf(thresholds / noise)
    tpr = (1 - rate) * fpr + rate * stats.norm.sf((thresholds - 1) / noise)
    ceiling = privacy.tpr_ceiling(epsilon, fpr)
    point = privacy.tpr_ceiling(float(epsilon), fpr, 1e-5)
    assert (tpr <= ceiling + 1e-9).all() and (ceiling <= point + 1e-12).all()
    # What remains is that the guarantee is the larger of adding and removing at each point.
    assert np.abs(ceiling - tpr).max() < 0.06 and np.abs(point - tpr).max() > 0.3


def test_full_batches_have_the_gaussian_mechanisms_own_curve():
    epsilon = privacy.epsilon(privacy.shuffled(1000, 100, 4), 4.0, 1e-5)
    np.testing.assert_allclose(privacy.tpr_ceiling(epsilon, RATES), special.ndtr(special.ndtri(RATES) + 0.5))
    several = privacy.group_epsilon(privacy.shuffled(1000, 100, 4), 4.0, 1e-5, records=3)
    np.testing.assert_allclose(privacy.tpr_ceiling(several, RATES), special.ndtr(special.ndtri(RATES) + 1.5))


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((1.0, 1.5), "fpr holds values outside"),
        ((1.0, math.nan), "fpr holds"),
        ((-1.0, 0.5), "epsilon=-1.0"),
        ((1.0, 0.5, 1.0), "delta=1.0"),
        ((privacy.Epsilon(1.0, 1e-5, "add_or_remove", "pld", ()), 0.5, 1e-5), "is beside an Epsilon"),
        ((privacy.Epsilon(1.0, 1e-5, "add_or_remove", "clt", ()), 0.5), "not a bound"),
    ],
)
def test_what_has_no_ceiling_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        privacy.tpr_ceiling(*arguments)


def test_no_noise_is_no_ceiling():
    assert privacy.tpr_ceiling(privacy.epsilon(privacy.shuffled(1000, 100, 1), 0.0, 1e-5), 0.0) == 1.0


# --- several records of one person -----------------------------------------------------------------------------------


@pytest.mark.parametrize("records", [1, 2, 5])
def test_full_batches_with_several_records_are_the_gaussian_mechanism(records):
    for run, mu in ((privacy.poisson(100, 100, 4), 2 / 9), (privacy.shuffled(100, 10, 9), 3 / 9)):
        for adjacency, distance in (("add_or_remove", 1), ("replace_one", 2)):
            epsilon = privacy.group_epsilon(run, 9.0, 1e-5, records, adjacency)
            exact = metrics.gaussian_epsilon(mu * records * distance, 1e-5)
            assert epsilon.value == pytest.approx(exact, rel=1e-6) and epsilon.records == records


def hockey_stick(p, q, epsilon, step):
    return max(np.maximum(a - math.exp(epsilon) * b, 0).sum() * step for a, b in ((p, q), (q, p)))


@pytest.mark.parametrize("records, rate, noise", [(2, 0.3, 1.0), (3, 0.1, 0.8)])
def test_one_sampled_step_by_enumerating_the_coins(records, rate, noise):
    """The sum of k records at 1 each, the coins enumerated: the promise holds, and nothing is wasted."""
    x = np.linspace(-15, 20, 40_001)
    density = np.zeros_like(x)
    for coins in itertools.product((0, 1), repeat=records):
        chance = math.prod(rate if coin else 1 - rate for coin in coins)
        density += chance * stats.norm.pdf(x, sum(coins), noise)
    without, delta = stats.norm.pdf(x, 0, noise), 5e-4
    run = privacy.poisson(1000, 1000 * rate, 1)
    epsilon = privacy.group_epsilon(run, noise, delta, records)
    assert hockey_stick(density, without, epsilon.value, x[1] - x[0]) == pytest.approx(delta, rel=2e-2)
    opposite = np.zeros_like(x)  # all of them replaced by their negatives
    for count in range(records + 1):
        opposite += stats.binom.pmf(count, records, rate) * stats.norm.pdf(x, -count, noise)
    replaced = privacy.group_epsilon(run, noise, delta, records, "replace_one")
    assert hockey_stick(density, opposite, replaced.value, x[1] - x[0]) <= delta


def test_a_mixture_of_gaussians_is_dp_accountings():
    import dp_accounting as dp

    run, records = privacy.poisson(1000, 20, 50), 3
    chances = stats.binom.pmf(range(records + 1), records, run.rate).tolist()
    event = dp.dp_event.MixtureOfGaussiansDpEvent(2.0, list(range(records + 1)), chances)
    accountant = dp.pld.PLDAccountant(value_discretization_interval=1e-3)
    direct = accountant.compose(dp.SelfComposedDpEvent(event, run.steps)).get_epsilon(1e-5)
    epsilon = privacy.group_epsilon(run, 2.0, 1e-5, records)
    assert direct * (1 - 1e-3) <= epsilon.value <= direct * 1.03  # its grid is the coarser one
    assert "3 examples of one person at once" in str(epsilon)


@pytest.mark.parametrize("adjacency", ["add_or_remove", "replace_one"])
@pytest.mark.parametrize("run", [privacy.poisson(1000, 20, 50), privacy.truncated_poisson(1000, 20, 50, cap=25)])
def test_several_records_cost_more_than_one_and_no_more_than_the_general_bound(run, adjacency):
    values = [privacy.group_epsilon(run, 2.0, 1e-5, records, adjacency).value for records in (1, 2)]
    assert values == sorted(values) and values[0] == privacy.epsilon(run, 2.0, 1e-5, adjacency=adjacency).value
    for records, value in zip((2,), values[1:], strict=True):
        single = values[0] * 1.5  # any one point of the curve bounds it
        growth = math.expm1(records * single) / math.expm1(single)
        if privacy.delta(run, 2.0, single, adjacency) * growth <= 1e-5:
            assert value <= records * single
        ceiling = privacy.tpr_ceiling(privacy.group_epsilon(run, 2.0, 1e-5, records, adjacency), 0.01)
        assert privacy.tpr_ceiling(privacy.epsilon(run, 2.0, 1e-5, adjacency=adjacency), 0.01) < ceiling < 1


def test_bad_numbers_of_records_are_named():
    run = privacy.poisson(1000, 20, 50)
    for records, words in ((0, "records=0"), (1001, "records=1001"), (2.0, "records=2.0")):
        with pytest.raises(ValueError, match=words):
            privacy.group_epsilon(run, 2.0, 1e-5, records)
    assert privacy.group_epsilon(run, 0.0, 1e-5, 2).value == math.inf


@pytest.mark.parametrize("noise, expected", [(1e-200, 1.0), (1e200, 0.1)])
def test_a_ceiling_at_either_end_of_the_noise(noise, expected):
    run = privacy.epsilon(privacy.poisson(100, 100, 1), noise, 1e-5)
    np.testing.assert_allclose(privacy.tpr_ceiling(run, [0.0, 0.1, 1.0]), [0.0, expected, 1.0], atol=1e-12)
    sampled = privacy.epsilon(privacy.poisson(60_000, 256, 500), 1e200, 1e-5)
    assert float(sampled) == 0.0 and privacy.tpr_ceiling(sampled, 0.1) <= 0.1 + 1e-9
