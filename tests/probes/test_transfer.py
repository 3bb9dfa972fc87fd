"""Adversarial examples of linear models, whose largest loss in a box is known, and the rate of those that transfer."""

import numpy as np
import pytest
from scipy.stats import beta

from gecko_jax import probes
from gecko_jax.types import Model

LINEAR = Model(None, lambda variables, x, **_: (x @ variables["w"], {}))
RNG = np.random.default_rng(0)
W = RNG.normal(size=(6, 2)).astype(np.float32)
X, Y = RNG.random((9, 6)).astype(np.float32), RNG.integers(0, 2, 9)


@pytest.mark.parametrize("steps", [1, 4])
def test_of_two_classes_the_corner_of_the_box_is_reached(steps):
    moved = probes.adversarial_examples(LINEAR, {"w": W}, X, Y, radius=0.125, steps=steps)
    away = W[:, 1] - W[:, 0]  # towards the other class of each row
    corner = np.clip(X + 0.125 * np.sign(away)[None] * np.where(Y == 0, 1, -1)[:, None], 0, 1)
    np.testing.assert_allclose(moved, corner, atol=1e-6)


def test_the_rate_counts_what_was_right_before():
    y, clean = np.array([0, 1, 1, 0, 1]), np.eye(2)[[0, 1, 0, 0, 1]]
    after = np.eye(2)[[1, 1, 0, 0, 0]]
    rate = probes.transfer_rate(clean, after, y)
    assert (rate.value, rate.n) == (0.5, 4)
    np.testing.assert_allclose(rate[1:3], [beta.ppf(0.025, 2, 3), beta.ppf(0.975, 3, 2)])


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(radius=0.0), "radius=0.0"),
        (dict(steps=0), "steps=0 must be"),
        (dict(bounds=(0.2, 1.0)), "must hold all of x"),
        (dict(y=np.full(9, 2)), "y runs from 2 to 2"),
        (dict(x=np.zeros((9, 6), int)), "expected floats"),
    ],
)
def test_bad_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        probes.adversarial_examples(**{**dict(model=LINEAR, variables={"w": W}, x=X, y=Y, radius=0.1), **change})


def test_a_model_that_is_never_right_has_no_rate():
    with pytest.raises(ValueError, match="classifies no record rightly"):
        probes.transfer_rate(np.eye(2)[[0, 0]], np.eye(2)[[0, 0]], [1, 1])


@pytest.mark.parametrize(
    "clean, adversarial, y, message",
    [
        (np.eye(2), np.full((2, 2), np.nan), [0, 1], "adversarial holds 4 entries that are NaN"),
        (np.full((2, 2), np.inf), np.eye(2), [0, 1], "clean holds 4 entries"),
        (np.eye(2), np.eye(2), [1, 5], "y runs from 1 to 5; expected 0..1"),
        (np.eye(2), np.eye(2), [0.0, 1.0], "y has dtype float64"),
        (np.zeros((2, 2, 2)), np.zeros((2, 2, 2)), [0, 1], "clean has shape"),
    ],
)
def test_what_a_rate_cannot_count_is_refused(clean, adversarial, y, message):
    with pytest.raises(ValueError, match=message):
        probes.transfer_rate(clean, adversarial, y)
