"""Epsilons against closed forms, numerical integrals, dp_accounting itself and published figures."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from gecko_jax.privacy.accounting import accountants, calibration, phases
from gecko_jax.privacy.accounting import epsilon as accounting
from gecko_jax.privacy.sampling import poisson, shuffled, truncated_poisson
from gecko_jax.types import Estimate

MNIST = poisson(60_000, 256, 14_063)
SNLI = poisson(550_152, 32, 54_000)


def gaussian_epsilon(mu, delta):
    """Of N(0, 1) against N(mu, 1): Balle and Wang 2018, Theorem 8."""

    def excess(epsilon):
        lower = math.exp(epsilon) * stats.norm.cdf(-mu / 2 - epsilon / mu)
        return stats.norm.cdf(mu / 2 - epsilon / mu) - lower - delta

    return optimize.brentq(excess, 0, 100)


# --- published figures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "accountant, adjacency, published",
    [("pld", "add_or_remove", 2.38), ("pld", "replace_one", 4.22), ("rdp", "add_or_remove", 2.60)],
)
def test_sixty_epochs_of_mnist(accountant, adjacency, published):
    result = accounting.epsilon(MNIST, 1.1, 1e-5, accountant, adjacency)
    assert float(result) == pytest.approx(published, abs=0.005)


def test_truncation_at_four_deviations_costs_a_percent():
    sampling = truncated_poisson(60_000, 256, 14_063, cap=320)
    grid = 2e-4  # twice the default's, to save seconds
    result = accountants.pld_epsilon(phases.phases_of(sampling, 1.1), 1e-5, "add_or_remove", grid)
    assert result == pytest.approx(2.409, abs=0.0005)


def test_snli_as_printed_and_as_bounded():
    delta = np.nextafter(1 / 550_152, 0)  # the paper's 1/n, where a warning is due
    bound = accountants.pld_epsilon(phases.phases_of(SNLI, 0.4), delta, "add_or_remove", 2e-4)
    assert bound == pytest.approx(5.16, abs=0.005)
    assert float(accounting.epsilon(SNLI, 0.4, delta, "rdp")) == pytest.approx(6.53, abs=0.005)
    # The printed 1.25 is the central limit's of three epochs of 17,192 whole batches: a quarter of the bound.
    printed = accounting.epsilon(SNLI._replace(steps=51_576), 0.4, delta, "clt")
    assert float(printed) == pytest.approx(1.25, abs=0.005)
    assert "NOT a bound" in str(printed)


def test_the_central_limit_is_below_the_bound():
    assert float(accounting.epsilon(MNIST, 1.1, 1e-5, "clt")) == pytest.approx(2.32, abs=0.005)


# --- closed forms ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adjacency, distance", [("add_or_remove", 1), ("replace_one", 2)])
@pytest.mark.parametrize(
    "sampling, noise, count, mu",
    [
        (poisson(1000, 1000, 9), 9.0, None, 3 / 9),
        (truncated_poisson(1000, 1000, 4, cap=1000), 9.0, None, 2 / 9),
        (shuffled(1000, 100, epochs=4), 8.0, None, 2 / 8),
        (poisson(1000, 1000, 1), 4.0, 1.5, math.sqrt(1 / 16 + 1 / 9)),
        ([poisson(1000, 1000, 1), shuffled(1000, 10, 2)], [4.0, 5.0], None, math.sqrt(1 / 16 + 2 / 25)),
        ([poisson(1000, 1000, 1)] * 2, 4.0, [None, 1.5], math.sqrt(2 / 16 + 1 / 9)),
    ],
)
def test_full_batches_are_one_gaussian_mechanism(sampling, noise, count, mu, adjacency, distance):
    exact = gaussian_epsilon(mu * distance, 1e-4)
    tight = accounting.epsilon(sampling, noise, 1e-4, adjacency=adjacency, count_noise_multiplier=count)
    assert exact * (1 - 1e-6) <= float(tight) <= exact * 1.001
    loose = accounting.epsilon(sampling, noise, 1e-4, "rdp", adjacency, count)
    assert exact < float(loose) < 1.4 * exact


X = np.linspace(-30, 30, 20_001)


def one_step(sampling, noise, delta, adjacency="add_or_remove"):
    """An epsilon on a grid of 1e-3: ten times as quick, and precise enough for a single step."""
    return accountants.pld_epsilon(phases.phases_of(sampling, noise), delta, adjacency, interval=1e-3)


def hockey_stick(p, q, epsilon):
    """The delta of two densities on X, the larger of both directions."""
    above = [np.maximum(a - math.exp(epsilon) * b, 0).sum() for a, b in ((p, q), (q, p))]
    return max(above) * (X[1] - X[0])


@pytest.mark.parametrize("rate, noise, delta", [(0.3, 2.0, 1e-3), (0.05, 1.0, 1e-3)])
def test_one_sampled_step_is_what_integration_says(rate, noise, delta):
    without = stats.norm.pdf(X, 0, noise)
    plus, minus = ((1 - rate) * without + rate * stats.norm.pdf(X, at, noise) for at in (1, -1))
    sampling = poisson(100, 100 * rate, 1)
    for adjacency, pair in (("add_or_remove", (without, plus)), ("replace_one", (plus, minus))):
        result = one_step(sampling, noise, delta, adjacency)
        assert hockey_stick(*pair, result) == pytest.approx(delta, rel=1e-3)


def truncated_density(others, present, rate, cap, noise):
    """The noised sum of a batch cut to `cap`: other examples of value -1 and, where present, one of +1."""
    density = np.zeros_like(X)
    for count in range(others + 1):
        weight = stats.binom(others, rate).pmf(count)
        alone = stats.norm.pdf(X, -min(count, cap), noise)
        share = min(1, cap / (count + 1))  # of the one example, where its coin says so
        together = share * stats.norm.pdf(X, 1 - min(count, cap - 1), noise) + (1 - share) * alone
        density += weight * (((1 - rate) * alone + rate * together) if present else alone)
    return density


@pytest.mark.parametrize("n, rate, cap", [(4, 0.5, 1), (10, 0.9, 4)])
def test_truncation_is_charged_and_has_to_be(n, rate, cap):
    pair = [truncated_density(n - 1, present, rate, cap, 2.0) for present in (False, True)]
    charged = one_step(truncated_poisson(n, rate * n, 1, cap), 2.0, 1e-2)
    plain = one_step(poisson(n, rate * n, 1), 2.0, 1e-2)
    assert hockey_stick(*pair, charged) <= 1e-2 < hockey_stick(*pair, plain)


def test_shuffling_gets_no_amplification():
    epochs, batch = 5, 50
    amplified = accounting.epsilon(poisson(5000, batch, epochs * 100), 5.0, 1e-5)
    result = accounting.epsilon(shuffled(5000, batch, epochs), 5.0, 1e-5)
    assert float(result) == pytest.approx(gaussian_epsilon(math.sqrt(epochs) / 5, 1e-5), rel=1e-3)
    assert float(result) > 4 * float(amplified)
    assert "shuffled batches" in str(result) and "its slot is left empty" in str(result)


def test_phases_compose_as_dp_accounting_composes_them():
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent, pld, rdp

    runs = [(0.01, 2.5, 200), (0.02, 2.0, 100)]
    samplings = [poisson(10_000, rate * 10_000, steps) for rate, _, steps in runs]
    noise = [sigma for _, sigma, _ in runs]
    for name, direct in (("pld", pld.PLDAccountant()), ("rdp", rdp.RdpAccountant())):
        for rate, sigma, steps in runs:
            direct.compose(SelfComposedDpEvent(PoissonSampledDpEvent(rate, GaussianDpEvent(sigma)), steps))
        result = accounting.epsilon(samplings, noise, 1e-5, name)
        assert float(result) == pytest.approx(direct.get_epsilon(1e-5), rel=1e-9)


# --- what is said, warned of and refused -----------------------------------------------------------------------------


def test_the_answer_carries_its_assumptions():
    result = accounting.epsilon(poisson(1000, 1000, 1), 4.0, 1e-5, "rdp", count_noise_multiplier=50.0)
    text = str(result)
    assert "modeled: one example added or removed; Renyi" in text
    assert text.endswith("rate 1000/1,000, 1 steps, noise multiplier 4, count noise 50")
    shown = float(text.split()[1])
    assert result.value <= shown < result.value + 0.001  # rounded up: it is a bound
    assert result.estimate() == Estimate(result.value, kind="modeled")
    assert result.phases[0].effective_noise_multiplier == phases.with_count(4.0, 50.0) < 4.0


def test_no_noise_is_no_privacy():
    for accountant in accounting.ACCOUNTANTS:
        assert float(accounting.epsilon(MNIST, 0.0, 1e-5, accountant)) == math.inf
        assert float(accounting.epsilon(MNIST, 1.0, 1e-5, accountant, count_noise_multiplier=0)) == math.inf
    assert str(accounting.epsilon(MNIST, 0.0, 1e-5)).startswith("epsilon inf")
    assert 1e6 < float(accounting.epsilon(MNIST, 0.001, 1e-5)) < 1e8  # almost no noise, and it does not take an hour


def test_a_large_delta_is_warned_of():
    with pytest.warns(UserWarning, match=r"delta=0\.001 is not below 1/n = 0\.001"):
        accounting.epsilon(shuffled(1000, 100, 1), 5.0, 1e-3)
    with pytest.warns(UserWarning, match="publishing one random example"):
        calibration.calibrate_noise(shuffled(1000, 100, 1), 1.0, 1e-2)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((MNIST, 1.1, 0.0), "delta=0.0 must lie above 0"),
        ((MNIST, 1.1, 1.0), "delta=1.0 must lie above 0"),
        ((MNIST, 1.1, float("nan")), "delta=nan"),
        ((MNIST, -1.0, 1e-5), "noise_multiplier=-1.0"),
        ((MNIST, float("nan"), 1e-5), "noise_multiplier=nan"),
        ((MNIST, 1.1, 1e-5, "pdl"), "Did you mean 'pld'"),
        ((MNIST, 1.1, 1e-5, "pld", "replace"), "Did you mean 'replace_one'"),
        ((MNIST, 1.1, 1e-5, "pld", "replace_one", -2.0), "count_noise_multiplier=-2.0"),
        ((MNIST, [1.1, 1.2], 1e-5), "noise_multiplier has 2 values for 1 phases"),
        (([], 1.1, 1e-5), "sampling is empty"),
        ((["poisson"], 1.1, 1e-5), "must be a Sampling"),
        ((MNIST, 1.1, 1e-5, "rdp", "replace_one"), "no bound for Poisson sampling under adjacency='replace_one'"),
        ((truncated_poisson(100, 10, 1, 12), 1.1, 1e-5, "rdp"), "no bound for truncated Poisson"),
        ((MNIST, 1.1, 1e-5, "clt", "replace_one"), "take accountant='pld'"),
    ],
)
def test_what_cannot_be_answered_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        accounting.epsilon(*arguments)


# --- calibration -----------------------------------------------------------------------------------------------------


def test_calibration_finds_the_noise_of_the_published_figure():
    noise = calibration.calibrate_noise(MNIST, 2.3817788, 1e-5)  # of 1.1, by the default accountant
    assert 1.1 <= noise <= 1.1 * 1.001


@pytest.mark.parametrize(
    "sampling, target, adjacency",
    [
        (poisson(2000, 1000, 50), 2.0, "replace_one"),
        (truncated_poisson(1000, 50, 400, cap=70), 0.5, "add_or_remove"),
        (shuffled(1000, 50, 10), 0.05, "replace_one"),
        ([poisson(10_000, 100, 100), shuffled(10_000, 100, 1)], 1.0, "add_or_remove"),
    ],
)
def test_calibrated_noise_meets_the_budget_and_little_less_does_not(sampling, target, adjacency):
    noise = calibration.calibrate_noise(sampling, target, 1e-5, adjacency)
    met = float(accounting.epsilon(sampling, noise, 1e-5, adjacency=adjacency))
    less = float(accounting.epsilon(sampling, noise / 1.001, 1e-5, adjacency=adjacency))
    assert 0.99 * target < met <= target < less


@pytest.mark.parametrize("mu, distance, adjacency", [(0.1, 1, "add_or_remove"), (1.0, 2, "replace_one")])
def test_calibration_inverts_the_closed_form(mu, distance, adjacency):
    target = gaussian_epsilon(mu, 1e-5)
    noise = calibration.calibrate_noise(poisson(100, 100, 1), target, 1e-5, adjacency)
    assert distance / mu <= noise * (1 + 1e-9) and noise < 1.0015 * distance / mu


def test_calibration_leaves_room_for_the_count():
    sampling = shuffled(1000, 50, 25)
    alone = calibration.calibrate_noise(sampling, 1.0, 1e-5)
    noise = calibration.calibrate_noise(sampling, 1.0, 1e-5, count_noise_multiplier=10.0)
    assert noise > 1.1 * alone
    assert 0.99 < float(accounting.epsilon(sampling, noise, 1e-5, count_noise_multiplier=10.0)) <= 1.0
    with pytest.raises(ValueError, match="count_noise_multiplier=0.3 spends target_epsilon=1.0 alone: it must exceed"):
        calibration.calibrate_noise(sampling, 1.0, 1e-5, count_noise_multiplier=0.3)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"target_epsilon": 0}, "target_epsilon=0"),
        ({"target_epsilon": math.inf}, "target_epsilon=inf"),
        ({"adjacency": "add"}, "adjacency='add'"),
    ],
)
def test_bad_budgets_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        calibration.calibrate_noise(**{"sampling": MNIST, "target_epsilon": 1.0, "delta": 1e-5, **change})
    with pytest.raises(ValueError, match=message):
        calibration.affordable_steps(
            **{"sampling": MNIST, "noise_multiplier": 1, "target_epsilon": 1.0, "delta": 1e-5, **change}
        )


@pytest.mark.parametrize(
    "sampling, noise, target, count",
    [
        (poisson(10_000, 100, 1), 3.0, 0.4, None),
        (shuffled(1000, 90, 1), 10.0, 2.0, 15.0),
    ],
)
def test_affordable_steps_are_the_most(sampling, noise, target, count):
    steps = calibration.affordable_steps(sampling, noise, target, 1e-5, count_noise_multiplier=count)
    more = sampling.steps if sampling.kind == "shuffled" else 1
    assert steps % more == 0 and steps > 0

    def cost(steps):
        run = sampling._replace(steps=steps)
        return float(accounting.epsilon(run, noise, 1e-5, count_noise_multiplier=count))

    assert cost(steps) <= target < cost(steps + more)


def test_affordable_steps_may_be_none():
    assert calibration.affordable_steps(shuffled(1000, 90, 1), 10.0, 0.1, 1e-5) == 0
