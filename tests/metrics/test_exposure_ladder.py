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
            np.testing.assert_allclose(step.exposure[1:3], [np.mean(bits) - half, np.mean(bits) + half])
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


def test_bad_ladders_are_named():
    for call, words in (
        (lambda: metrics.exposure_ladder([[1.0]], [1]), "values has shape"),
        (lambda: metrics.exposure_ladder([1.0, 2.0], [1]), "repetitions has shape"),
        (lambda: metrics.exposure_ladder([1.0, 2.0], [1, -1]), "counts below 0"),
        (lambda: metrics.exposure_ladder([1.0, 2.0], [0.5, 1.0]), "dtype float64"),
        (lambda: metrics.exposure_ladder([1.0, 2.0], [1, 1]), "marks no reference"),
        (lambda: metrics.exposure_ladder([1.0, 2.0], [0, 0]), "marks no secret"),
        (lambda: metrics.exposure_ladder([1.0, 2.0], [0, 1]), "number of reference values=1"),
        (lambda: metrics.exposure([[1.0]], [[1.0], [2.0]]), "value has shape"),
        (lambda: metrics.exposure(np.zeros((2, 1)), np.zeros((2, 0))), "at least one model and one reference"),
        (lambda: metrics.exposure([[1.0]], [[math.nan]]), "reference holds 1 entry"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
