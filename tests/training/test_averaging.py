"""The running average against a NumPy loop over the parameters of each step."""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from naive_training import assert_close, assert_same_bits, naive_fit, start_of

from gecko_jax import clippings, losses, models, privacy, quantizers, training
from gecko_jax.types import Examples, StepMetrics

SGD = optax.sgd(0.25)
DENSE = models.from_linen(nn.Dense(2, use_bias=False))
POOL = Examples(np.zeros((60, 3), np.float32), np.zeros(60, np.int32), np.arange(60))
SLOPE = np.asarray([[1.0, -1.0], [0.5, 0.0], [-0.1, 2.0]], np.float32)


def constant(variables, batch, key):
    """A GradFn whose steps are known beforehand."""
    none = jnp.zeros(())
    grads = jax.tree.map(lambda p: jnp.broadcast_to(SLOPE, p.shape), variables["params"])
    return grads, StepMetrics(none, none, jnp.sum(batch.weight), {})


def loop(trail, decay):
    """The average of [start, params after step 1, after step 2, ...]."""
    average = np.asarray(trail[0], np.float64)
    for t, params in enumerate(trail[1:]):
        d = min(decay, (1 + t) / (10 + t))
        average = d * average + (1 - d) * np.asarray(params, np.float64)
    return average


@pytest.mark.parametrize("decay", [0.5, 0.999, 0.0])
def test_each_model_averages_its_own_steps_and_no_skipped_one(decay, member):
    """Models of 2 to 4 steps an epoch in one program: what is skipped neither moves the average nor counts."""
    model = training.with_average(DENSE, decay)
    settings = dict(gradients=constant, optimizer=SGD, epochs=3, batch_size=10, seed=1)
    trained = training.fit_ensemble(model, POOL, member, **settings)
    plain = training.fit_ensemble(DENSE, POOL, member, **settings)
    assert_same_bits({"params": trained.variables["params"]}, plain.variables)
    steps = 3 * member.sum(1) // 10
    assert trained.variables["average"]["count"].tolist() == steps.tolist() and len(set(steps)) > 1
    fitted = training.averaged(trained.variables)
    assert set(fitted) == {"params"}
    for row, count in enumerate(steps):
        last = trained.variables["params"]["kernel"][row]
        trail = [last + 0.25 * (count - t) * SLOPE for t in range(count + 1)]
        np.testing.assert_allclose(fitted["params"]["kernel"][row], loop(trail, decay), rtol=1e-5, atol=1e-6)


def test_the_plain_model_predicts_from_the_average(pool, mlp):
    """One step an epoch, so that the loop's parameters after t epochs are those after t steps."""
    start, steps, rows = start_of(mlp, pool.x), 4, np.ones(60, bool)
    model = training.with_average(mlp, 0.2)
    settings = dict(epochs=steps, batch_size=60)
    init = {**start, "average": {"params": start["params"], "count": np.int32(0)}}
    trained = training.fit(model, pool, optimizer=SGD, init=init, **settings)
    trail = [start["params"]]
    for epochs in range(1, steps + 1):
        trail.append(naive_fit(mlp, pool, rows, start, SGD, epochs=epochs, batch_size=60).variables["params"])
    expected = {"params": jax.tree.map(lambda *leaves: loop(leaves, 0.2).astype(np.float32), *trail)}
    fitted = training.averaged(trained.variables)
    assert_close(fitted, expected)
    logits = training.predict(mlp, fitted, pool.x)
    np.testing.assert_allclose(logits, training.predict(mlp, expected, pool.x), rtol=1e-4, atol=1e-5)
    # The model with the average evaluates its last parameters.
    assert_same_bits(
        training.predict(model, trained.variables, pool.x),
        training.predict(mlp, {"params": trained.variables["params"]}, pool.x),
    )


@pytest.mark.parametrize("quantized_last", [False, True])
def test_latent_weights_are_averaged_as_they_are_projected(quantized_last):
    """BinaryConnect's clip to [-1, 1] and its rates hold as before, and the average is of what is clipped."""
    rules = [(".*", quantizers.binary_connect(), None)]
    if quantized_last:
        model = models.quantized(training.with_average(DENSE, 0.6), rules, float_layers=())
    else:
        model = training.with_average(models.quantized(DENSE, rules, float_layers=()), 0.6)
    settings = dict(gradients=constant, optimizer=SGD, epochs=4, batch_size=30, seed=2)
    start = start_of(DENSE, POOL.x)
    init = {**start, "average": {"params": start["params"], "count": np.int32(0)}}
    fitted = training.fit(model, POOL, init=init, **settings)
    rate, trail = np.sqrt((3 + 2) / 1.5), [start["params"]["kernel"]]
    for _ in range(8):
        trail.append(np.clip(trail[-1] - 0.25 * rate * SLOPE, -1, 1))
    np.testing.assert_allclose(fitted.variables["params"]["kernel"], trail[-1], rtol=1e-5)
    average = training.averaged(fitted.variables)["params"]["kernel"]
    np.testing.assert_allclose(average, loop(trail, 0.6), rtol=1e-5, atol=1e-6)
    assert np.abs(average).max() <= 1 and (np.abs(trail[-1]) == 1).any()


def test_a_private_run_keeps_threshold_and_average():
    """Neither collection is taken for statistics over the batch; both orders train as without the average.

    Noise and coins would differ between the three runs. There is therefore no noise, and every batch is the pool.
    """
    rule, loss = clippings.quantile(0.5), losses.cross_entropy()
    rng = np.random.default_rng(3)
    pool = POOL._replace(x=rng.normal(size=(60, 3)).astype(np.float32), y=rng.integers(0, 2, 60, np.int32))
    sizes = dict(n=60, batch_size=60, epochs=3, delta=1e-3, noise_multiplier=0.0, count_noise=0.0)
    private = privacy.private_training(DENSE, loss, rule, **sizes)
    over = training.with_average(private.model, 0.9)
    under = privacy.private_training(training.with_average(DENSE, 0.9), loss, rule, **sizes)
    start = {**start_of(DENSE, POOL.x), "clipping": {"threshold": np.float32(0.5)}}
    plain = training.fit(private.model, pool, optimizer=SGD, init=start, **private.options)
    init = {**start, "average": {"params": start["params"], "count": np.int32(0)}}
    for model, options in ((over, private.options), (under.model, under.options)):
        trained = training.fit(model, pool, optimizer=SGD, init=init, **options)
        assert set(trained.variables) == {"params", "clipping", "average"}
        assert trained.variables["average"]["count"] == 3
        fitted = training.averaged(trained.variables)
        assert_close({**fitted, "params": trained.variables["params"]}, plain.variables)
        assert np.abs(fitted["params"]["kernel"] - plain.variables["params"]["kernel"]).max() > 1e-4
        assert training.predict(DENSE, fitted, pool.x).shape == (60, 2)


def test_a_run_that_is_stopped_goes_on_with_its_average(tmp_path, monkeypatch):
    model = training.with_average(DENSE, 0.9)
    settings = dict(gradients=constant, optimizer=SGD, epochs=3, batch_size=30)
    uninterrupted = training.fit(model, POOL, **settings)
    monkeypatch.setattr(training.ensemble, "CHECKPOINT_INTERVAL_SECONDS", 0)
    done = training.ensemble.RunLog.epoch_done

    def stop(self, epoch, *rest):
        done(self, epoch, *rest)
        if epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training.ensemble.RunLog, "epoch_done", stop)
        with pytest.raises(KeyboardInterrupt):
            training.fit(model, POOL, folder=tmp_path, **settings)
    assert_same_bits(training.fit(model, POOL, folder=tmp_path, **settings), uninterrupted)


def test_half_precision_is_averaged_in_single():
    """A long average's step of 1/10,000 is lost in bfloat16; what comes out has the parameters' dtype again."""
    model = training.with_average(models.from_linen(nn.Dense(2, param_dtype=jnp.bfloat16)), 0.9999)
    shapes = jax.eval_shape(model.init, jax.random.key(0), POOL.x[:1])
    assert shapes["average"]["params"]["kernel"].dtype == jnp.float32
    after = jax.eval_shape(functools.partial(models.finish_update, model), shapes, POOL.x[:1])
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), shapes
    )
    assert jax.eval_shape(training.averaged, after)["params"]["kernel"].dtype == jnp.bfloat16


def test_what_has_no_average_is_refused(pool, mlp):
    for decay in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="decay=.* must lie between 0 and 1"):
            training.with_average(mlp, decay)
    model = training.with_average(DENSE, 0.9)
    with pytest.raises(ValueError, match=r"hold \['params'\] and not 'average': train training.with_average\(model"):
        training.averaged(start_of(DENSE, POOL.x))
    with pytest.raises(ValueError, match="has seen no update: in a loop of your own call models.finish_update"):
        training.averaged({"params": {}, "average": {"params": {}, "count": np.zeros(2, np.int32)}})
    with pytest.raises(ValueError, match="collection 'average' already: put the transform that adds it on once"):
        jax.eval_shape(training.with_average(model, 0.9).init, jax.random.key(0), POOL.x[:1])
    start = start_of(DENSE, POOL.x)
    with pytest.raises(ValueError, match="has other parameters than the variables"):
        training.averaged({**start, "average": {"params": {"bias": start["params"]["kernel"]}, "count": np.int32(3)}})


def test_the_average_of_a_frozen_parameter_is_the_parameter(pool, mlp):
    """A projection before the average must not reach it: what is frozen stays as it is, there as well."""
    halved = mlp._replace(
        after_update=(lambda variables, x: {**variables, "params": jax.tree.map(lambda p: p / 2, variables["params"])},)
    )
    model = training.with_average(halved, 0.9)
    start = model.init(jax.random.key(0), pool.x[:1])
    variables = training.fit(model, pool, init=start, trainable=["logits"], epochs=1, batch_size=20).variables
    for params in (variables["params"], training.averaged(variables)["params"]):
        assert_same_bits(params["dense1"], start["params"]["dense1"])
        assert not np.array_equal(params["logits"]["kernel"], start["params"]["logits"]["kernel"])
