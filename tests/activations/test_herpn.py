"""HerPN by hand in float64: a batch's statistics, the running ones, and the quadratic that is deployed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import losses, models, privacy, training
from gecko_jax.activations import HerPN
from gecko_jax.clippings import flat
from gecko_jax.types import Examples

X = np.random.default_rng(0).normal(1.0, 2.0, size=(50, 4, 3)).astype(np.float32)
VARIABLES = jax.jit(HerPN().init)(jax.random.key(0), X)
GAMMA, BETA = np.float32([1.0, -2.0, 0.5]), np.float32([0.0, 1.0, -1.0])


def by_hand(statistics, x):
    """gamma sum_i f_i (h_i - mean_i) / sqrt(var_i + eps) + beta."""
    x, total = x.astype(np.float64), 0.0
    bases = (("first", 0.5, x), ("second", 1 / np.sqrt(4 * np.pi), (x**2 - 1) / np.sqrt(2)))
    for name, factor, basis in bases:
        mean, var = statistics(name, basis)
        total = total + factor * (basis - mean) / np.sqrt(var + 1e-4)
    return GAMMA * total + BETA


def test_a_batch_is_normalized_by_its_own_statistics_and_moves_the_running_ones():
    variables = {**VARIABLES, "params": {"gamma": GAMMA, "beta": BETA}}
    y, updates = HerPN().apply(variables, X, train=True, mutable=["batch_stats"])
    measured = {}

    def of_batch(name, basis):
        measured[name] = basis.mean((0, 1)), basis.var((0, 1))
        return measured[name]

    np.testing.assert_allclose(y, by_hand(of_batch, X), rtol=1e-3, atol=1e-3)
    for name, (mean, var) in measured.items():
        np.testing.assert_allclose(updates["batch_stats"][name]["mean"], 0.1 * mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(updates["batch_stats"][name]["var"], 0.9 + 0.1 * var, rtol=1e-4)
    deployed = {**variables, "batch_stats": updates["batch_stats"]}
    running = by_hand(lambda name, basis: [np.asarray(updates["batch_stats"][name][key]) for key in ("mean", "var")], X)
    np.testing.assert_allclose(HerPN().apply(deployed, X), running, rtol=1e-3, atol=1e-3)
    c, b, a = HerPN().coefficients(deployed)
    np.testing.assert_allclose(a * X.astype(np.float64) ** 2 + b * X + c, running, rtol=1e-5, atol=1e-5)


def test_networks_train_with_it_and_take_its_statistics_along(rows=40):
    model = models.create("mlp", 3, hidden=(4,), activation="herpn")
    x, y = X.reshape(50, -1)[:rows], np.arange(rows) % 3
    fitted = training.fit(model, Examples(x, y), epochs=2, batch_size=20)
    moved = fitted.variables["batch_stats"]["block1"]["HerPN_0"]["second"]["var"]
    assert np.isfinite(fitted.loss).all() and np.abs(moved - 1).min() > 1e-3


def test_without_statistics_it_would_be_no_polynomial():
    model = models.create("mlp", 3, hidden=(4,), activation="herpn")
    with pytest.raises(ValueError, match="belongs to an activation that is a polynomial"):
        models.without_batch_norm(model).init(jax.random.key(0), jnp.ones((2, 5)))
    with pytest.raises(ValueError, match="block1/HerPN_0/first.*keep statistics over the batch"):
        privacy.private_training(
            model, losses.cross_entropy(), flat(1.0), n=100, batch_size=10, epochs=1, delta=1e-3, noise_multiplier=1.0
        )
