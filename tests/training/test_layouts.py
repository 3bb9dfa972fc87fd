"""Layouts: dense nets, plain and grouped convolutions and a user's own module train as the naive loop does."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from naive_training import assert_close, assert_same_bits, naive_fit, start_of

from gecko_jax import models, training
from gecko_jax.training.layout import Layout, choose

TX = training.optimizer("momentum", 0.1)
ALL = np.ones(60, bool)


class Depthwise(nn.Module):
    """A grouped convolution, which no matrix product over patches computes."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), strides=2)(x))
        x = nn.relu(nn.Conv(4, (3, 3), strides=2, feature_group_count=4)(x))
        return nn.Dense(10)(x.reshape(len(x), -1))


class Dropped(nn.Module):
    """A user's own module: dropout, and a switch under another name."""

    @nn.compact
    def __call__(self, x, deterministic: bool):
        x = nn.relu(nn.Dense(16)(x))
        return nn.Dense(10)(nn.Dropout(0.5)(x, deterministic=deterministic))


LENET = models.create("lenet", 10, channels=(2, 3), hidden=4)
DEPTHWISE = models.from_linen(Depthwise())
DROPPED = models.from_linen(Dropped())


@pytest.mark.parametrize(
    "model, count, layout",
    [
        (LENET, 1, Layout(1, 1, scan=True, matmul=True)),
        (LENET, 9, Layout(4, 4, scan=True, matmul=True)),
        (DEPTHWISE, 9, Layout(1, 1, scan=False, matmul=False)),
        (models.create("mlp", 10, hidden=(4,)), 1, Layout(1, 1, scan=True, matmul=False)),
        (models.create("mlp", 10, hidden=(4,)), 6, Layout(8, 4, scan=True, matmul=False)),
        (models.create("mlp", 10, hidden=(4,)), 100, Layout(16, 4, scan=True, matmul=False)),
    ],
)
def test_the_layout_follows_the_model(model, count, layout, images):
    """On a CPU of four devices (tests/conftest.py)."""
    variables = jax.eval_shape(model.init, jax.random.key(0), images.x[:1])
    assert choose(model, variables, jax.ShapeDtypeStruct((16, 8, 8, 1), np.float32), count) == layout


@pytest.mark.parametrize("model", [LENET, DEPTHWISE], ids=["plain convolutions", "grouped convolutions"])
def test_convolutions_train_as_in_the_naive_loop(model, images):
    start = start_of(model, images.x)
    settings = dict(epochs=2, batch_size=20)
    trained = training.fit(model, images, init=start, optimizer=TX, **settings)
    expected = naive_fit(model, images, ALL, start, TX, **settings)
    assert_close(trained.variables, expected.variables, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(trained.loss, expected.loss, rtol=1e-4)


def test_dropout_draws_anew_in_each_step_and_again_the_same(pool):
    start = start_of(DROPPED, pool.x)
    settings = dict(epochs=2, batch_size=20)
    trained = training.fit(DROPPED, pool, init=start, optimizer=TX, **settings)
    expected = naive_fit(DROPPED, pool, ALL, start, TX, **settings)  # fold_in(key of model and epoch, step)
    assert_close(trained.variables, expected.variables)
    assert_same_bits(training.fit(DROPPED, pool, init=start, optimizer=TX, **settings), trained)
    named = training.fit(DROPPED, pool, init=start, optimizer=TX, model_id=1, **settings)
    assert np.abs(named.loss - trained.loss).max() > 1e-3
