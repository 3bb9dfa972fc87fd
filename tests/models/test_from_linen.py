"""A model from any Linen module: its training switch however it is spelled, dropout, and what training updates."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import models

X = jnp.asarray(np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32))
MOMENTUM = 0.9


def body(x, train):
    x = nn.BatchNorm(use_running_average=not train, momentum=MOMENTUM)(x)
    return nn.Dropout(0.5, deterministic=not train)(nn.Dense(40, use_bias=False)(x))


class Train(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return body(x, train)


class Training(nn.Module):
    @nn.compact
    def __call__(self, x, *, training):
        return body(x, training)


class IsTraining(nn.Module):
    @nn.compact
    def __call__(self, x, is_training=None):
        return body(x, is_training)


class Deterministic(nn.Module):
    @nn.compact
    def __call__(self, x, deterministic):
        return body(x, not deterministic)


class UseRunningAverage(nn.Module):
    @nn.compact
    def __call__(self, x, use_running_average):
        return body(x, not use_running_average)


class EvalMode(nn.Module):
    @nn.compact
    def __call__(self, x, eval_mode):
        return body(x, not eval_mode)


@pytest.mark.parametrize("module", [Train, Training, IsTraining, Deterministic, UseRunningAverage, EvalMode])
def test_each_spelling_of_the_switch(module):
    model = models.from_linen(module())
    variables = model.init(jax.random.key(0), X)
    kernel = np.asarray(variables["params"]["Dense_0"]["kernel"], np.float64)

    plain, nothing = model.apply(variables, X)
    assert nothing == {}
    np.testing.assert_allclose(plain, X / np.sqrt(1 + 1e-5) @ kernel, rtol=1e-4, atol=1e-5)  # mean 0, variance 1

    trained, updates = model.apply(variables, X, key=jax.random.key(1), train=True)
    batch = (X - X.mean(0, keepdims=True)) / np.sqrt(X.var(0, keepdims=True) + 1e-5) @ kernel
    nonzero = np.asarray(trained) != 0
    assert 0.3 < nonzero.mean() < 0.7
    np.testing.assert_allclose(np.asarray(trained)[nonzero], 2 * np.asarray(batch)[nonzero], rtol=1e-3, atol=1e-4)

    moved = updates["batch_stats"]["BatchNorm_0"]
    assert set(updates) == {"batch_stats"}
    np.testing.assert_allclose(moved["mean"], (1 - MOMENTUM) * X.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(moved["var"], MOMENTUM + (1 - MOMENTUM) * X.var(0), rtol=1e-4)


def test_dropout_draws_from_the_key():
    model = models.from_linen(Train())
    variables = model.init(jax.random.key(0), X)
    one, same, other = (np.asarray(model.apply(variables, X, key=jax.random.key(k), train=True)[0]) for k in (1, 1, 2))
    assert (one == same).all() and (one != other).any()
    with pytest.raises(Exception, match="dropout"):  # Flax's own error: training without a key
        model.apply(variables, X, train=True)


@pytest.mark.parametrize("module", [nn.Dense(4), nn.Sequential([nn.Dense(4), nn.relu])])
def test_a_module_without_a_switch(module):
    model = models.from_linen(module)
    variables = model.init(jax.random.key(0), X)
    for train in (False, True):
        logits, updates = model.apply(variables, X, key=jax.random.key(0), train=train)
        np.testing.assert_array_equal(logits, module.apply(variables, X))
        assert updates == {}


def test_variables_are_the_module_s_own():
    module = Train()
    actual, own = models.from_linen(module).init(jax.random.key(3), X), module.init(jax.random.key(3), X, False)
    assert jax.tree.all(jax.tree.map(lambda a, b: (a == b).all(), actual, own))


def test_the_transition_is_set_by_a_schedule_and_not_by_the_forward_pass():
    model = models.create("mlp", 2, hidden=(4,), activation="quadratic", normalize=True)
    variables = model.init(jax.random.key(0), X)
    assert set(variables) == {"params", "batch_stats", "transition"}
    assert set(model.apply(variables, X, train=True)[1]) == {"batch_stats"}


@pytest.mark.parametrize("other", [nn.Dense, lambda x: x, None])
def test_other_things_are_refused(other):
    with pytest.raises(TypeError, match="from_linen takes an instance of flax.linen.Module"):
        models.from_linen(other)
