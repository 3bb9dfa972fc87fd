"""No finite epsilon is told as infinite or as another's: the least of the valid bounds, over the whole range.

The oracles: dp_accounting called directly, the Gaussian mechanism's closed form, a naive sum in Python's own numbers.
"""

from __future__ import annotations

import decimal
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gecko_jax import metrics
from gecko_jax.privacy.accounting import epsilon as accounting
from gecko_jax.privacy.accounting import participation, phases, renyi
from gecko_jax.privacy.sampling import poisson, shuffled, truncated_poisson

MNIST = poisson(60_000, 256, 14_063)
SHORT = poisson(60_000, 256, 500)


def direct(sampling, noise, delta, interval, replace=False):
    """dp_accounting's own composition on a grid of one's choice."""
    import dp_accounting as dp

    relation = dp.NeighboringRelation.REPLACE_ONE if replace else dp.NeighboringRelation.ADD_OR_REMOVE_ONE
    accountant = dp.pld.PLDAccountant(relation, interval)
    step = dp.PoissonSampledDpEvent(sampling.rate, dp.GaussianDpEvent(noise))
    return accountant.compose(dp.SelfComposedDpEvent(step, sampling.steps)).get_epsilon(delta)


def test_a_large_epsilon_is_told():
    result = accounting.epsilon(SHORT, 0.0688, 1e-5)
    assert float(result) == pytest.approx(1093.4, abs=0.05) and result.accountant == "pld"
    assert float(result) == pytest.approx(direct(SHORT, 0.0688, 1e-5, 0.01), rel=1e-4)
    assert accounting.epsilon(SHORT, 0.0688, 1e-5, "pld").value == result.value


def test_a_tiny_delta_is_answered_by_another_accountant():
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
    from dp_accounting.rdp import RdpAccountant

    event = SelfComposedDpEvent(PoissonSampledDpEvent(MNIST.rate, GaussianDpEvent(1.1)), MNIST.steps)
    for delta in (1e-15, 1e-100, 1e-300):
        result = accounting.epsilon(MNIST, 1.1, delta)
        assert result.accountant == "rdp" and "Renyi" in str(result)
        assert float(result) <= RdpAccountant().compose(event).get_epsilon(delta) * (1 + 1e-12)
        assert accounting.epsilon(MNIST, 1.1, delta, "pld").value == result.value  # which has none of its own


RUNS = {
    "poisson": SHORT,
    "every step": poisson(100, 100, 7),
    "one of many": poisson(60_000, 1, 1),
    "truncated": truncated_poisson(1000, 50, 100, cap=60),
    "shuffled": shuffled(1000, 50, 3),
    "phases": [poisson(1000, 50, 40), shuffled(1000, 50, 1), truncated_poisson(1000, 50, 10, cap=60)],
}


@pytest.mark.parametrize("adjacency", accounting.ADJACENCIES)
@pytest.mark.parametrize("run", RUNS)
def test_every_corner_is_finite(run, adjacency):
    for noise, delta in ((1e-9, 1e-5), (1e-3, 1e-15), (0.05, 1e-300), (1e6, 1e-300), (1e6, 1e-5), (1e120, 1e-9)):
        result = accounting.epsilon(RUNS[run], noise, delta, adjacency=adjacency, count_noise_multiplier=10 * noise)
        assert 0 <= result.value < math.inf and result.accountant in accounting.ACCOUNTANTS
        assert float(str(result).split()[1]) >= result.value  # rounded up, whatever its size


def test_only_what_no_float_can_hold_is_infinite():
    assert math.isinf(accounting.epsilon(SHORT, 1e-200, 1e-5).value)
    assert accounting.epsilon(SHORT, 1e-150, 1e-5).value == pytest.approx(6e300, rel=0.5)


@given(
    st.sampled_from([(0.01, 200), (0.2, 30), (1.0, 5)]),
    st.floats(0.6, 4),
    st.sampled_from([1e-4, 1e-6, 1e-14]),
    st.sampled_from(sorted(accounting.ADJACENCIES)),
)
@settings(derandomize=True, deadline=None, max_examples=6)
def test_epsilon_falls_with_noise_and_delta_and_grows_with_steps(run, noise, delta, adjacency):
    rate, steps = run

    def cost(steps, noise, delta):
        return accounting.epsilon(poisson(2000, 2000 * rate, steps), noise, delta, adjacency=adjacency).value

    here = cost(steps, noise, delta)
    assert 0 < here < math.inf
    for other in (cost(steps, noise * 1.1, delta), cost(steps, noise, delta * 2)):
        assert other <= here * (1 + 1e-6)
    assert cost(steps + 1, noise, delta) >= here * (1 - 1e-6)
    if rate < 1 and delta > 1e-12:
        sampling = poisson(2000, 2000 * rate, steps)
        assert here <= direct(sampling, noise, delta, 1e-3, adjacency == "replace_one") * (1 + 1e-5)
        assert here >= direct(sampling, noise, delta, 5e-4, adjacency == "replace_one") * (1 - 5e-3)


def test_rounding_of_a_long_composition_is_paid_for():
    """10,000 Gaussian steps are one: dp_accounting's transform in float64 may fall short of it at a small delta."""
    from dp_accounting.pld import privacy_loss_distribution

    from gecko_jax.privacy.accounting import loss_distributions

    delta, run = 1e-12, phases.phases_of(poisson(10**6, 10**5, 10_000), 100.0)
    step = privacy_loss_distribution.from_gaussian_mechanism(100.0, value_discretization_interval=1e-3)
    told = step.self_compose(10_000).get_epsilon_for_delta(delta)
    true = math.exp(metrics.gaussian_dp.log_gaussian_delta(1.0, told))
    assert true <= delta + loss_distributions.lost(run)  # 7.6e-13 on Python 3.13, above 1.01e-12 on 3.11
    assert loss_distributions.pld_epsilon(run, delta, "add_or_remove", 1e-3) == math.inf


@pytest.mark.parametrize("rate, noise", [(0.01, 1.0), (0.5, 2.0), (1e-5, 50.0), (1e-6, 1e4)])
def test_renyi_moments_are_the_naive_sum(rate, noise):
    """A(order) by its definition, in decimals of sixty digits, where floats lose a divergence of 1e-20."""
    with decimal.localcontext(prec=60):
        q, z = decimal.Decimal(rate), decimal.Decimal(noise)
        for order in (2, 3, 7, 20):
            terms = (
                math.comb(order, i) * q**i * (1 - q) ** (order - i) * (i * (i - 1) / z / z / 2).exp()
                for i in range(order + 1)
            )
            total = sum(terms)
            log_moment = renyi._of_step(order, rate, noise, 0.0, False) * (order - 1)
            assert log_moment == pytest.approx(float(total.ln()), rel=1e-9)


def test_no_divergence_is_lost_in_rounding():
    """One of 60,000 at noise 1e6: A - 1 is 3e-22, which dp_accounting calls a negative divergence and epsilon 0."""
    run, delta = poisson(60_000, 1, 10**9), 1e-300
    assert accounting.epsilon(run, 1e6, delta, "rdp").value > 0


@pytest.mark.parametrize("adjacency, shift", [("add_or_remove", 1.0), ("replace_one", 2.0)])
def test_participations_are_a_mixture_of_gaussian_mechanisms(adjacency, shift):
    from scipy import stats

    sampling, noise = poisson(100, 30, 6), 0.7
    run, value = phases.phases_of(sampling, noise), 5.0
    weights = stats.binom.pmf(np.arange(7), 6, 0.3)
    naive = 0.0
    for count, weight in enumerate(weights):
        mu = shift * math.sqrt(count) / noise
        if mu:
            tail = math.exp(value) * stats.norm.cdf(-mu / 2 - value / mu)
            naive += weight * (stats.norm.cdf(mu / 2 - value / mu) - tail)
    delta = math.exp(participation.participation_log_deltas(run, np.array([value]), adjacency)[0])
    assert delta == pytest.approx(naive, rel=1e-9)
    assert participation.participation_epsilon(run, naive, adjacency) == pytest.approx(value, rel=1e-6)


def test_delta_is_the_other_way_round():
    for run in ("poisson", "truncated", "phases"):
        for adjacency in accounting.ADJACENCIES:
            result = accounting.epsilon(RUNS[run], 2.0, 1e-5, adjacency=adjacency)
            back = accounting.delta(RUNS[run], 2.0, result.value, adjacency)
            assert back == pytest.approx(1e-5, rel=1e-2)
    assert accounting.delta(SHORT, 0.0, 3.0) == 1.0
    assert 0 < accounting.delta(SHORT, 1.0, 1e4) < 1e-300
    with pytest.raises(ValueError, match="epsilon=-1"):
        accounting.delta(SHORT, 1.0, -1.0)
