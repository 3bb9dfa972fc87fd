"""Input gradients against the closed form of a linear classifier, and against finite differences of a network."""

import jax
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from gecko_jax import losses, models

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(5, 6)).astype(np.float32), RNG.integers(0, 4, 5)


def test_of_a_linear_classifier_it_is_w_times_p_minus_the_label():
    linear = models.create("mlp", 4, hidden=())
    params = {"logits": {"kernel": RNG.normal(size=(6, 4)).astype(np.float32), "bias": np.zeros(4, np.float32)}}
    w = params["logits"]["kernel"].astype(np.float64)
    expected = (softmax(X @ w, axis=1) - np.eye(4)[Y]) @ w.T
    actual = models.input_gradients(linear, {"params": params}, X, Y)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)
    weighted = losses.cross_entropy((0.0, 1.0, 2.0, 3.0))
    actual = models.input_gradients(linear, {"params": params}, X, Y, weighted)
    np.testing.assert_allclose(actual, expected * Y[:, None], rtol=1e-4, atol=1e-6)


def test_rows_do_not_see_each_other_and_batch_statistics_are_the_running_ones(filled):
    model = models.create("mlp", 4, hidden=(3,), normalize=True)
    variables = filled(model, X)
    slopes = jax.jit(lambda x: models.input_gradients(model, variables, x, Y))(X)

    def loss(x):
        logits = model.apply(variables, np.asarray(x, np.float32))[0]
        return -log_softmax(np.asarray(logits, np.float64), axis=1)[np.arange(5), Y]

    for column in range(6):
        step = np.zeros((5, 6), np.float32)
        step[:, column] = 2e-3
        slope = (loss(X + step) - loss(X - step)) / 4e-3
        np.testing.assert_allclose(slopes[:, column], slope, rtol=5e-2, atol=2e-2)


def test_tokens_have_no_gradient():
    with pytest.raises(ValueError, match="x is int32; expected one array of floats"):
        models.input_gradients(models.create("mlp", 4), {}, np.zeros((2, 3), np.int32), Y[:2])
