"""SAMIA's sensitivity against the derivative of a soft-max, and against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from gecko_jax.probes import sensitivity


def linear(rng, d=8, classes=4):
    weight = rng.normal(size=(d, classes))
    return weight, lambda x: np.asarray(x) @ weight


def test_it_tends_to_the_mean_of_a_half_normal():
    # To first order f(x + eps u) - f(x) = eps g.u, and E|g.u| = |g| sqrt(2/pi).
    rng = np.random.default_rng(0)
    weight, predict = linear(rng)
    x = rng.normal(size=(12, 8))
    p = special.softmax(x @ weight, -1)
    gradients = np.einsum("nk,dk->nkd", p, weight) - np.einsum("nk,nj,dj->nkd", p, p, weight)
    expected = np.linalg.norm(gradients, axis=-1) * np.sqrt(2 / np.pi)
    results = sensitivity(predict, x, 0, draws=4000, scale=1e-5)
    # |N(0, 1)| has a standard deviation of .756 of its mean.
    assert (np.abs(results / expected - 1) < 5 * 0.756 / np.sqrt(4000)).all()


def test_a_loop_agrees_and_batches_change_nothing():
    rng = np.random.default_rng(1)
    weight, predict = linear(rng)
    x = rng.normal(size=(5, 8))
    seen = []

    def spy(rows):
        seen.append(rows.copy())
        return predict(rows)

    results = sensitivity(spy, x, 3)
    assert len(seen) == 11 and results.shape == (5, 4) and results.dtype == np.float64
    posterior = [special.softmax(rows @ weight, -1) for rows in seen]
    expected = sum(np.abs(one - posterior[0]) for one in posterior[1:]) / 10 / 1e-3
    np.testing.assert_allclose(results, expected)
    steps = np.array([rows - x for rows in seen[1:]]) / 1e-3
    assert 0.8 < steps[:, 0].std() < 1.2
    np.testing.assert_allclose(sensitivity(predict, x, 3, batch_size=2), results)
    probabilities = sensitivity(lambda rows: special.softmax(predict(rows), -1), x, 3, outputs="probabilities")
    np.testing.assert_allclose(probabilities, results, rtol=1e-8)


@pytest.mark.parametrize(
    ("predict", "settings", "words"),
    [
        (lambda x: (x, {}), {}, "returned a tuple"),
        (lambda x: x[:-1], {}, "output of predict has shape"),
        (lambda x: x * np.nan, {}, "NaN"),
        (lambda x: special.softmax(x, -1), {}, "are probabilities"),
        (lambda x: x, {"draws": 0}, "draws=0"),
        (lambda x: x, {"scale": -1.0}, "scale=-1.0"),
        (lambda x: x, {"outputs": "logit"}, "Did you mean 'logits'"),
    ],
)
def test_bad_input_is_named(predict, settings, words):
    with pytest.raises(ValueError, match=words):
        sensitivity(predict, np.random.default_rng(0).normal(size=(4, 3)), 0, **settings)
