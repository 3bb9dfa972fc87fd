"""Objectives of a whole batch: rows that are coupled, padding that does not count, what is trained and reported."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from gecko_jax import losses, models, training
from gecko_jax.types import Batch

MODEL = models.create("mlp", 3, hidden=())
RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 4)).astype(np.float32)
Y = np.array([0, 1, 2, 0, 1, 2])
WEIGHT = np.array([1, 1, 1, 1, 0, 0], np.float32)
PARAMS = {"logits": {"kernel": RNG.normal(size=(4, 3)).astype(np.float32), "bias": np.zeros(3, np.float32)}}


def spread(variables, batch, real, key):
    """The variance of the rows' losses: no mean of losses of single examples."""
    outputs, updates = MODEL.apply(variables, batch.x, key=key, train=True)
    each = jax.vmap(losses.cross_entropy().apply)(outputs, batch)
    return training.mean_over(real, (each - training.mean_over(real, each)) ** 2), outputs, updates


GRADIENTS = training.objective_gradients(spread, losses.cross_entropy(), trainable=["kernel"])


def by_hand(kernel, rows):
    logits = X[rows].astype(np.float64) @ kernel
    return np.var(-log_softmax(logits, axis=1)[np.arange(len(rows)), Y[rows]])


def test_an_objective_couples_the_real_rows_alone():
    slopes, metrics = jax.jit(GRADIENTS)({"params": PARAMS}, Batch(X, Y, WEIGHT), jax.random.key(0))
    kernel, rows = PARAMS["logits"]["kernel"].astype(np.float64), np.arange(4)
    np.testing.assert_allclose(metrics.loss, by_hand(kernel, rows), rtol=1e-5)
    for place in np.ndindex(kernel.shape):
        step = np.zeros_like(kernel)
        step[place] = 1e-6
        slope = (by_hand(kernel + step, rows) - by_hand(kernel - step, rows)) / 2e-6
        np.testing.assert_allclose(slopes["logits"]["kernel"][place], slope, rtol=1e-3, atol=1e-5)
    assert not np.any(slopes["logits"]["bias"]), "trainable= names the kernel alone"
    hits = (X[rows] @ kernel).argmax(1) == Y[rows]
    assert (float(metrics.count), float(metrics.metric)) == (4, hits.sum())


def test_a_value_of_one_number_a_row_is_refused():
    gradients = training.objective_gradients(
        lambda variables, batch, real, key: (batch.x[:, 0] * variables["params"], batch.x, {}), losses.cross_entropy()
    )
    with pytest.raises(ValueError, match=r"gave an array of shape \(6,\) for a batch"):
        gradients({"params": jnp.ones(())}, Batch(X, Y, None), None)


def test_padding_adds_nothing_whatever_its_label():
    gradients = training.batch_gradients(MODEL, losses.cross_entropy())
    slopes = [
        gradients({"params": PARAMS}, Batch(X, np.where(WEIGHT > 0, Y, label), WEIGHT), None)[0] for label in (0, -1)
    ]
    jax.tree.map(np.testing.assert_array_equal, *slopes)
