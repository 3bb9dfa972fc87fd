"""A model with one output and real targets: `fit` with the squared error, plain and private."""

import numpy as np
import optax
import pytest
from naive_training import start_of

from gecko_jax import clippings, losses, models, privacy, training
from gecko_jax.types import Examples

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 4)).astype(np.float32)
Y = (X @ [1.0, -2.0, 0.5, 0.0] + 0.3).astype(np.float32)
LINE = models.create("mlp", 1, hidden=())
POOL = Examples(X, Y, np.arange(50))


def by_hand(steps, learning_rate, clip_norm=np.inf):
    """Gradient descent on the mean of (w x + b - y)^2 / 2, each example's gradient cut to clip_norm; float64."""
    start = start_of(LINE, X)["params"]["logits"]
    w = np.append(np.asarray(start["kernel"], np.float64)[:, 0], np.asarray(start["bias"], np.float64))
    rows = np.column_stack([X, np.ones(50)]).astype(np.float64)
    for _ in range(steps):
        each = (rows @ w - Y)[:, None] * rows
        norms = np.linalg.norm(each, axis=1, keepdims=True)
        w = w - learning_rate * (each * np.minimum(1, clip_norm / norms)).mean(0)
    return w


def weights_of(fitted):
    layer = fitted.variables["params"]["logits"]
    return np.append(np.asarray(layer["kernel"])[:, 0], np.asarray(layer["bias"]))


def test_it_descends_the_squared_error():
    settings = dict(loss=losses.squared_error(), optimizer=optax.sgd(0.3), epochs=25, batch_size=50)
    fitted = training.fit(LINE, POOL, init=start_of(LINE, X), **settings)
    np.testing.assert_allclose(weights_of(fitted), by_hand(25, 0.3), atol=1e-5)
    assert fitted.loss[-1] < 0.01 * fitted.loss[0]


def test_privately_too():
    """Without noise and with every example in every batch, so that the clipped descent can be written down."""
    run = privacy.private_training(
        LINE, losses.squared_error(), clippings.flat(0.5), n=50, batch_size=50, epochs=8, delta=1e-3, noise_multiplier=0
    )
    assert np.isinf(float(run.epsilon))
    fitted = training.fit(run.model, POOL, init=start_of(LINE, X), optimizer=optax.sgd(0.3), **run.options)
    np.testing.assert_allclose(weights_of(fitted), by_hand(8, 0.3, 0.5), atol=1e-5)


def test_real_targets_need_a_model_with_as_many_outputs():
    model = models.create("mlp", 3, hidden=())
    with pytest.raises(ValueError, match=r"squared_error compares each output with a target; the model returns \(3,\)"):
        training.fit(model, POOL, loss=losses.squared_error())
    with pytest.raises(ValueError, match="data.y holds 1 entry that is NaN"):
        training.fit(LINE, POOL._replace(y=np.where(np.arange(50) == 3, np.nan, Y)), loss=losses.squared_error())
