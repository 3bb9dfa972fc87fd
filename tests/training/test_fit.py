"""One model: `fit` against the naive loop, whatever takes part in an update."""

import math

import jax
import numpy as np
import optax
import pytest
from naive_training import assert_close, assert_same_bits, naive_fit, start_of

from gecko_jax import keys, models, quantizers, training

HALF = np.arange(60) % 3 != 0  # 40 members: with batches of 16 the last one has 8 rows of padding


def assert_history(trained, expected):
    np.testing.assert_allclose(trained.loss, expected.loss, rtol=2e-5)
    np.testing.assert_allclose(trained.metrics["accuracy"], expected.accuracy, atol=1e-6)


def test_fit_is_a_loop_over_batches(pool, mlp):
    # The initial values, too: a stream of the seed and of the model's name.
    start = jax.jit(mlp.init)(jax.random.fold_in(keys.stream(5, "init"), np.uint32(0)), pool.x[:1])
    settings = dict(epochs=3, batch_size=16, seed=5)
    schedules = {"learning_rate": training.cosine}
    trained = training.fit(mlp, pool, HALF, optimizer=optax.sgd(0.1, momentum=0.9), schedules=schedules, **settings)
    expected = naive_fit(
        mlp, pool, HALF, start, optax.sgd(0.1, momentum=0.9),
        factor=lambda epoch: (1 + math.cos(math.pi * epoch / 3)) / 2, **settings,
    )  # fmt: skip
    assert_close(trained.variables, expected.variables)
    assert_history(trained, expected)
    assert trained.loss.shape == trained.metrics["accuracy"].shape == (3,)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(trained))


def test_batch_norm_statistics(pool):
    model = models.create("mlp", 10, hidden=(8,), normalize=True)
    start = start_of(model, pool.x)
    settings = dict(epochs=2, batch_size=16)
    trained = training.fit(model, pool, HALF, optimizer=optax.sgd(0.1), init=start, **settings)
    expected = naive_fit(model, pool, HALF, start, optax.sgd(0.1), **settings)
    assert_close(trained.variables, expected.variables)
    moved = trained.variables["batch_stats"]["block1"]["BatchNorm_0"]
    assert np.abs(moved["mean"]).max() > 0.01 and np.abs(moved["var"] - 1).max() > 0.1


def test_binary_connect_clips_latents_and_scales_rates(pool):
    float_model = models.create("mlp", 10, hidden=(8,))
    model = models.quantized(float_model, [(".*", quantizers.binary_connect(), None)], float_layers=())
    start = start_of(float_model, pool.x)
    # 1 / Glorot's coefficient sqrt(1.5 / (fan in + fan out)), on kernels alone (Courbariaux et al. 2015).
    rates = {
        layer: {"kernel": math.sqrt(sum(values["kernel"].shape) / 1.5), "bias": 1.0}
        for layer, values in start["params"].items()
    }

    def clipped(params):
        return {
            layer: {"kernel": values["kernel"].clip(-1, 1), "bias": values["bias"]} for layer, values in params.items()
        }

    settings = dict(epochs=2, batch_size=20)
    trained = training.fit(model, pool, HALF, optimizer=optax.sgd(0.3), init=start, **settings)
    expected = naive_fit(model, pool, HALF, start, optax.sgd(0.3), rates=rates, project=clipped, **settings)
    assert_close(trained.variables, expected.variables, rtol=1e-4, atol=1e-5)
    kernels = np.concatenate([layer["kernel"].ravel() for layer in trained.variables["params"].values()])
    assert np.abs(kernels).max() == 1.0 and (np.abs(kernels) == 1.0).sum() > 5


def test_gradients_take_the_loss_s_place(pool, mlp):
    start, tx = start_of(mlp, pool.x), training.optimizer("momentum", 0.1)
    halved = training.batch_gradients(mlp, training.ensemble.cross_entropy())

    def gradients(variables, batch, key):
        grads, metrics = halved(variables, batch, key)
        return jax.tree.map(lambda g: g / 2, grads), metrics

    settings = dict(epochs=2, batch_size=20, init=start)
    trained = training.fit(mlp, pool, gradients=gradients, optimizer=training.optimizer("momentum", 0.2), **settings)
    plain = training.fit(mlp, pool, optimizer=tx, **settings)
    assert_close(trained.variables, plain.variables)


def test_a_second_fit_compiles_nothing(pool, mlp, member, compiled):
    def run():
        momentum = training.optimizer("momentum", 0.1)
        one = training.fit(mlp, pool, epochs=2, batch_size=20, optimizer=momentum)
        several = training.fit_ensemble(mlp, pool, member, epochs=2, batch_size=10, optimizer=momentum)
        return one, several, training.predict_ensemble(mlp, several.variables, pool.x)

    first = run()
    assert compiled.count("jit(traced)") <= 2, "one program a layout, for all epochs"
    compiled.clear()
    assert_same_bits(run(), first)
    assert compiled == []


def test_another_seed_is_another_model(pool, mlp):
    settings = dict(epochs=1, batch_size=20, optimizer=training.optimizer("momentum", 0.1))
    first, second = (training.fit(mlp, pool, seed=seed, **settings) for seed in (0, 1))
    assert np.abs(first.loss - second.loss).max() > 1e-3


@pytest.mark.parametrize("name", sorted(training.OPTIMIZERS))
def test_optimizers_by_name(name):
    assert training.optimizer(name, 0.25) is training.optimizer(name, 0.25)
    tx = training.optimizer(name, 0.25)
    params, grads = np.array([1.0, -2.0], np.float32), np.array([0.5, 3.0], np.float32)
    state, moves = tx.init(params), []
    for _ in range(2):
        update, state = tx.update(grads, state, params)
        moves.append(np.asarray(update))
    # Two steps on the same gradient; Adam's are its signs (up to its epsilon), for both moments are unbiased.
    expected = {
        "sgd": [-0.25 * grads] * 2,
        "momentum": [-0.25 * grads, -0.25 * 1.9 * grads],
        "adam": [-0.25 * np.sign(grads)] * 2,
    }
    np.testing.assert_allclose(moves, expected[name], rtol=1e-4)
