"""Exposure of canaries by repetitions: ranks by a loop, several models at once, and what saturation hides."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from gecko_jax import metrics

RNG = np.random.default_rng(0)
REPETITIONS = np.repeat([0, 1, 5, 25], [400, 6, 6, 6])
VALUES = RNG.normal(20, 2, 418) - 0.4 * REPETITIONS


def by_rank(value, reference):
    return math.log2(len(reference)) - math.log2(1 + sum(r < value for r in reference))


def test_it_is_the_loop_over_secrets():
    order = RNG.permutation(418)
    steps = metrics.exposure_ladder(VALUES[order], REPETITIONS[order])
    reference = VALUES[REPETITIONS == 0]
    assert [step.repetitions for step in steps] == [1, 5, 25]
    for step in steps:
        secrets = VALUES[step.repetitions == REPETITIONS]
        bits = [by_rank(value, reference) for value in secrets]
        assert step.exposure.value == pytest.approx(np.mean(bits)) and step.exposure.n == 6
        assert step.extrapolated.value == pytest.approx(metrics.extrapolated_exposure(secrets, reference).mean())
        assert step.saturated.value == np.mean(secrets < reference.min())
        if step.saturated.value < 1:
            half = stats.t(5).ppf(0.975) * np.std(bits, ddof=1) / math.sqrt(6)
            ends = np.clip([np.mean(bits) - half, np.mean(bits) + half], math.log2(400 / 401), math.log2(400))
            np.testing.assert_allclose(step.exposure[1:3], ends)
    top = steps[-1]
    assert top.saturated.value == 1 and top.exposure[:3] == (math.log2(400), None, None)
    assert top.extrapolated.value > steps[1].extrapolated.value > steps[0].extrapolated.value


def test_without_memorization_each_step_is_near_its_mean():
    values, repetitions = RNG.normal(size=24000), np.repeat([0, 1, 10], [20000, 2000, 2000])
    for step in metrics.exposure_ladder(values, repetitions, extrapolate=False):
        assert step.exposure.value == pytest.approx(1 / math.log(2), abs=0.1)  # three standard errors
        assert step.exposure.high - step.exposure.low < 0.2 and step.extrapolated is None


def test_models_are_ranked_among_their_own_references():
    values, reference = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 50)) * [[1.0], [2.0], [3.0]]
    for of in (metrics.exposure, metrics.extrapolated_exposure):
        together = of(values, reference)
        assert together.shape == (3, 4)
        np.testing.assert_array_equal(together, [of(v, r) for v, r in zip(values, reference, strict=True)])


def test_a_certified_exposure_never_exceeds_the_true_one():
    """Random distributions over all fills, flat and sharp: the true rank is counted."""
    for sharpness in (0.1, 1.0, 5.0, 30.0):
        logits = RNG.normal(size=1000) * sharpness
        losses = np.logaddexp.reduce(logits) - logits
        ranks = np.array([(losses <= loss).sum() for loss in losses])
        bounds = metrics.certified_exposure(losses, 1000)
        assert (bounds <= math.log2(1000) - np.log2(ranks) + 1e-9).all()
        assert (bounds >= 0).all() and bounds.max() >= math.log2(1000) - losses.min() / math.log(2) - 1e-9
    assert metrics.certified_exposure(0.0, 1000) == pytest.approx(math.log2(1000))
    values = np.array([math.log(2), 0.0, *np.linspace(5, 9, 20)])
    (step,) = metrics.exposure_ladder(values, [3, 3] + [0] * 20, extrapolate=False, space=64)
    assert step.certified[:3] == pytest.approx((5.5, 0.0, 6.0)) and step.saturated.value == 1


def test_an_interval_stays_where_ranks_are():
    (step,) = metrics.exposure_ladder([0.0, 2.5, 99.0, 1.0, 2.0, 3.0, 4.0], [1, 1, 1, 0, 0, 0, 0], extrapolate=False)
    assert all(type(end) is float for end in step.exposure[:3])
    assert step.exposure.low == pytest.approx(math.log2(4 / 5)) and step.exposure.high == 2.0


def test_bad_ladders_are_named():
    for call, words in (
        (lambda: metrics.exposure_ladder([[1.0]], [1]), "values has shape"),
        (lambda: metrics.exposure_ladder([1.0, 2.0], [1]), "repetitions has shape"),
        (lambda: metrics.exposure_ladder([1.0, 2.0], [1, -1]), "counts below 0"),
        (lambda: metrics.exposure_ladder([1.0, 2.0], [0.5, 1.0]), "dtype float64"),
        (lambda: metrics.exposure_ladder([1.0, 2.0], [1, 1]), "marks no reference"),
        (lambda: metrics.exposure_ladder([1.0, 2.0], [0, 0]), "marks no secret"),
        (lambda: metrics.exposure_ladder([1.0, 2.0], [0, 1]), "number of reference values=1"),
        (lambda: metrics.exposure_ladder([1.0, 2.0], [0, 1], False, space=1), "space=1 must be at least 2"),
        (lambda: metrics.certified_exposure([1.0, math.nan], 9), "loss holds NaN"),
        (lambda: metrics.certified_exposure(-3.0, 9), "loss holds NaN, or values below 0"),
        (lambda: metrics.exposure([[1.0]], [[1.0], [2.0]]), "value has shape"),
        (lambda: metrics.exposure(np.zeros((2, 1)), np.zeros((2, 0))), "at least one model and one reference"),
        (lambda: metrics.exposure_ladder([1.0, 2.0], [0, 1], False, space=1), "space=1 must be at least 2"),
        (lambda: metrics.certified_exposure([1.0, math.nan], 9), "loss holds NaN"),
        (lambda: metrics.certified_exposure(-3.0, 9), "loss holds NaN, or values below 0"),
        (lambda: metrics.exposure([[1.0]], [[math.nan]]), "reference holds 1 entry"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
