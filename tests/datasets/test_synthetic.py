"""Synthetic classes: the stated Bayes accuracy against closed forms, quadrature by scipy, and a classifier."""

import numpy as np
import pytest
from scipy import integrate, stats

from gecko_jax.datasets import bayes_accuracy, load, synthetic


@pytest.mark.parametrize("separation", [0.0, 0.5, 1.0, 3.0, 12.0])
def test_two_classes_have_a_closed_form(separation):
    assert bayes_accuracy(2, separation) == pytest.approx(stats.norm.cdf(separation / 2), abs=1e-12)


@pytest.mark.parametrize(("classes", "separation"), [(3, 1.0), (10, 2.5), (100, 5.0)])
def test_more_classes_against_quadrature(classes, separation):
    def integrand(z):
        return stats.norm.pdf(z) * stats.norm.cdf(z + separation / np.sqrt(2)) ** (classes - 1)

    expected, _ = integrate.quad(integrand, -9, 9, epsabs=1e-11)
    assert bayes_accuracy(classes, separation) == pytest.approx(expected, abs=1e-9)


def test_without_separation_it_is_a_guess():
    assert bayes_accuracy(7, 0.0) == pytest.approx(1 / 7, abs=1e-12)
    assert bayes_accuracy(4, 3.0, 0.75) == pytest.approx(1 / 4, abs=1e-12)


def _nearest_mean(train, rows, classes):
    means = np.stack([train.x[train.y == c].mean(0) for c in range(classes)])
    return ((rows[:, None] - means) ** 2).sum(-1).argmin(1)


@pytest.mark.parametrize(("classes", "separation", "noise"), [(2, 2.0, 0.0), (4, 3.0, 0.1), (3, 1.5, 0.3)])
def test_a_nearest_mean_classifier_reaches_it(classes, separation, noise):
    data = synthetic(20000, 8, classes, separation, noise, seed=3)
    accuracy = (_nearest_mean(data.train, data.test.x, classes) == data.test.y).mean()
    expected = bayes_accuracy(classes, separation, noise)
    # 4 standard errors of a proportion, and half a percent for means that are estimated.
    assert abs(accuracy - expected) < 4 * np.sqrt(expected * (1 - expected) / len(data.test.y)) + 0.005


def test_memorizing_leaks_exactly_the_gap():
    """Stored answers for members, the Bayes class for the rest: the gap attack's advantage is 1 - A."""
    data = synthetic(40000, 6, 4, 3.0, 0.2, seed=1)
    right_on_members = np.ones(len(data.train.y), bool)
    right_elsewhere = _nearest_mean(data.train, data.test.x, 4) == data.test.y
    advantage = right_on_members.mean() - right_elsewhere.mean()
    assert advantage == pytest.approx(1 - bayes_accuracy(4, 3.0, 0.2), abs=0.02)


def test_means_and_noise_are_as_stated():
    data = synthetic(30000, 5, 3, 4.0, 0.0, seed=2)
    means = np.stack([data.train.x[data.train.y == c].mean(0) for c in range(3)])
    distances = np.linalg.norm(means[:, None] - means[None], axis=-1)[np.triu_indices(3, 1)]
    np.testing.assert_allclose(distances, 4.0, atol=0.06)
    residual = data.train.x - means[data.train.y]
    np.testing.assert_allclose(np.cov(residual.T), np.eye(5), atol=0.05)


def test_label_noise_falls_on_the_other_classes_alike():
    clean, noisy = synthetic(20000, 4, 4, 3.0, 0.0, seed=5), synthetic(20000, 4, 4, 3.0, 0.4, seed=5)
    np.testing.assert_array_equal(clean.train.x, noisy.train.x)
    shift = (noisy.train.y - clean.train.y) % 4
    np.testing.assert_allclose(np.bincount(shift, minlength=4) / len(shift), [0.6, *[0.4 / 3] * 3], atol=0.012)


def test_defaults_shapes_and_seeds():
    data = load("synthetic")
    assert data.train.x.shape == (2000, 20) and data.test.x.shape == (500, 20) and data.num_classes == 4
    np.testing.assert_array_equal(data.train.x, synthetic().train.x)
    assert (synthetic(seed=1).train.x != data.train.x).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": 1}, "classes=1"),
        ({"d": 3}, "d=3 must be at least classes=4"),
        ({"n": 4}, "n=4"),
        ({"separation": -1.0}, "separation=-1.0"),
        ({"label_noise": 0.8}, "label_noise=0.8"),
        ({"label_noise": -0.1}, "label_noise=-0.1"),
    ],
)
def test_errors(change, message):
    with pytest.raises(ValueError, match=message):
        synthetic(**change)
