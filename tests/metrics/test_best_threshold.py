"""The split bound's threshold, found without a beta quantile for each point, against the loop over all points."""

from __future__ import annotations

import time

import numpy as np
import pytest

from gecko_jax import metrics
from gecko_jax.metrics.epsilon_bounds import _best, _evidence, _half


def naive(scores, member, delta, assumption):
    """The first threshold of the choosing half's curve with the largest bound, point by point."""
    chosen = _half(member, 0)
    scores, member = scores[chosen], member[chosen]
    best, actual = -np.inf, np.inf
    for threshold in [np.inf, *np.unique(scores)[::-1]]:
        called = scores >= threshold
        low = metrics.clopper_pearson(int(called[member].sum()), int(member.sum()))[0]
        high = metrics.clopper_pearson(int(called[~member].sum()), int((~member).sum()))[1]
        value = float(_evidence(np.float64(low), np.float64(high), delta, assumption))
        if value > best:
            best, actual = value, threshold
    return actual


@pytest.mark.parametrize("delta, assumption", [(0.0, "dp"), (0.01, "dp"), (1e-5, "gaussian")])
@pytest.mark.parametrize("digits", [0, 1, 6])
def test_it_is_the_loops(digits, delta, assumption):
    rng = np.random.default_rng(digits)
    for members, shift in ((200, 0.0), (60, 1.0), (390, 3.0)):
        member = rng.permutation(400) < members
        scores = np.round(rng.normal(size=400) + shift * member, digits)
        actual = metrics.epsilon_lower_bound(scores, member, delta, 0.95, "split", assumption)
        assert actual.threshold == naive(scores, member, delta, assumption)


@pytest.mark.parametrize("delta, assumption", [(0.0, "dp"), (1e-5, "gaussian")])
@pytest.mark.parametrize("points", [1, 1023, 1025, 20_000])
def test_no_stretch_of_a_long_curve_is_lost(points, delta, assumption):
    rng = np.random.default_rng(points)
    hits, alarms = (np.sort(rng.integers(0, 5001, points)) for _ in range(2))
    low = metrics.clopper_pearson(hits, 5000)[0]
    high = metrics.clopper_pearson(alarms, 5000)[1]
    expected = np.argmax(_evidence(low, high, delta, assumption))
    assert _best(hits, 5000, alarms, 5000, delta, 0.95, assumption) == expected


def test_half_a_million_scores_take_no_quantile_each():
    rng, member = np.random.default_rng(0), np.arange(500_000) % 2 == 0
    scores = rng.normal(size=500_000) + 0.2 * member
    start = time.process_time()
    metrics.epsilon_lower_bound(scores, member)
    assert time.process_time() - start < 1.5  # 3.5 seconds point by point
