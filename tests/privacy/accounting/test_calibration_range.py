"""Noise and steps for budgets over their whole range: met within a thousandth, refused clearly, never slow."""

from __future__ import annotations

import time

import pytest

from gecko_jax.privacy.accounting import calibration
from gecko_jax.privacy.accounting import epsilon as accounting
from gecko_jax.privacy.sampling import poisson, shuffled, truncated_poisson

SHORT = poisson(60_000, 256, 500)


@pytest.mark.parametrize(
    "sampling, target, delta, adjacency",
    [
        (SHORT, 10_000.0, 1e-5, "add_or_remove"),
        (SHORT, 1e-3, 1e-5, "add_or_remove"),
        (SHORT, 1.0, 1e-15, "add_or_remove"),
        (SHORT, 1e-6, 1e-300, "replace_one"),
        (truncated_poisson(1000, 50, 100, cap=60), 2_000.0, 1e-5, "add_or_remove"),
        (shuffled(1000, 100, 5), 1e8, 1e-15, "replace_one"),
        (poisson(60_000, 1, 1), 1e-3, 1e-5, "add_or_remove"),
        ([SHORT, shuffled(60_000, 256, 2)], 300.0, 1e-9, "add_or_remove"),
    ],
)
def test_a_budget_is_met_within_a_thousandth(sampling, target, delta, adjacency):
    noise = calibration.calibrate_noise(sampling, target, delta, adjacency)
    spent = accounting.epsilon(sampling, noise, delta, adjacency=adjacency).value
    assert 0.999 * target <= spent <= target


def test_a_budget_out_of_reach_is_refused():
    with pytest.raises(ValueError, match=r"epsilon=1e\+300 is out of reach"):
        calibration.calibrate_noise(SHORT, 1e300, 1e-5)


@pytest.mark.parametrize(
    "sampling, noise, target, delta, adjacency",
    [
        (poisson(60_000, 256, 1), 5.0, 8.0, 1e-5, "add_or_remove"),  # millions of steps: once 200 seconds
        (truncated_poisson(1000, 50, 1, cap=60), 2.0, 3.0, 1e-5, "add_or_remove"),
        (poisson(60_000, 256, 1), 1.1, 5.0, 1e-15, "add_or_remove"),
        (poisson(60_000, 256, 1), 0.05, 3_000.0, 1e-5, "add_or_remove"),
        (shuffled(1000, 90, 1), 3.0, 20.0, 1e-9, "replace_one"),
    ],
)
def test_affordable_steps_are_the_last_within_the_budget(sampling, noise, target, delta, adjacency):
    start = time.process_time()
    steps = calibration.affordable_steps(sampling, noise, target, delta, adjacency, count_noise_multiplier=40 * noise)
    assert time.process_time() - start < 30  # a few seconds; with room for a slow machine
    more = sampling.steps if sampling.kind == "shuffled" else 1
    cost = [
        accounting.epsilon(
            sampling._replace(steps=each), noise, delta, adjacency=adjacency, count_noise_multiplier=40 * noise
        ).value
        for each in (steps, steps + more)
    ]
    assert cost[0] <= target < cost[1]


def test_steps_that_cost_nothing_are_counted_too():
    free = poisson(60_000, 1, 1)
    assert accounting.epsilon(free, 1.0, 1e-5).value == 0
    steps = calibration.affordable_steps(free, 1.0, 0.1, 1e-5)
    costs = [accounting.epsilon(free._replace(steps=each), 1.0, 1e-5).value for each in (steps, steps + 1)]
    assert steps > 0 and costs[0] <= 0.1 < costs[1]


def test_more_steps_than_a_run_may_have_are_not_promised():
    from gecko_jax import keys

    assert calibration.affordable_steps(poisson(60_000, 1, 1), 1e6, 1.0, 1e-5) == keys.MAX_SEED


def test_steps_are_asked_of_one_phase():
    with pytest.raises(ValueError, match=r"sampling=\[Sampling.* must be one Sampling"):
        calibration.affordable_steps([poisson(60_000, 256, 500)], 1.0, 1.0, 1e-5)


@pytest.mark.filterwarnings("ignore:delta=")
def test_a_delta_that_covers_who_takes_part_needs_no_noise_and_is_said():
    with pytest.raises(ValueError, match="epsilon=1.0 holds at any noise multiplier.*Choose a smaller delta"):
        calibration.calibrate_noise(poisson(60_000, 256, 500), 1.0, 0.9)
