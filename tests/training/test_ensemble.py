"""Several models at once: each is what it would be alone, however they are laid out."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from naive_training import assert_close, assert_same_bits, naive_fit, starts_of

from gecko_jax import losses, models, training
from gecko_jax.training.device_groups import DeviceGroups
from gecko_jax.training.layout import Layout
from gecko_jax.trees import take
from gecko_jax.types import Batch, Loss

SETTINGS = dict(epochs=3, batch_size=10)
TX = training.optimizer("momentum", 0.1)


@pytest.fixture(scope="module")
def starts(mlp, pool):
    return starts_of(mlp, pool.x, 5)


@pytest.fixture(scope="module")
def expected(mlp, pool, member, starts):
    """Each model alone, in the naive loop: no step is skipped there, none is padded."""
    return [naive_fit(mlp, pool, member[i], take(starts, i), TX, name=i, **SETTINGS) for i in range(5)]


def fitted(mlp, pool, member, starts, rows=range(5)):
    rows = list(rows)
    return training.fit_ensemble(
        mlp, pool, member[rows], model_ids=rows, init=take(starts, np.array(rows)), optimizer=TX, **SETTINGS
    )


LAYOUTS = {
    "as chosen": None,
    "one by one": Layout(1, 1, scan=True, matmul=False),
    "in pairs on one device, the last repeated": Layout(2, 1, scan=True, matmul=False),
    "over four devices": Layout(4, 4, scan=True, matmul=False),
    "step by step": Layout(1, 1, scan=False, matmul=False),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_model_is_its_own_naive_loop(mlp, pool, member, starts, expected, layout, monkeypatch):
    """Momentum, too: a model with fewer rows skips steps, which must not let its momentum decay."""
    if LAYOUTS[layout]:
        monkeypatch.setattr(training.ensemble.layout, "choose", lambda *args, **options: LAYOUTS[layout])
    together = fitted(mlp, pool, member, starts)
    for i, alone in enumerate(expected):
        assert_close(take(together.variables, i), alone.variables)
        np.testing.assert_allclose(together.loss[:, i], alone.loss, rtol=2e-5)
        np.testing.assert_allclose(together.metrics["accuracy"][:, i], alone.accuracy, atol=1e-6)


def test_a_model_s_bits_depend_on_no_one_s_rows_or_place(mlp, pool, member, starts):
    together = fitted(mlp, pool, member, starts)
    backwards = fitted(mlp, pool, member, starts, [4, 3, 2, 1, 0])
    assert_same_bits(take(backwards.variables, slice(None, None, -1)), together.variables)
    others = member.copy()
    others[1:] = np.roll(member[1:], 7, axis=1)
    assert_same_bits(take(fitted(mlp, pool, others, starts).variables, 0), take(together.variables, 0))


def test_fresh_initial_values_are_those_of_the_model_alone(mlp, pool, member):
    frozen = optax.set_to_zero()
    settings = dict(epochs=1, batch_size=20, seed=3, optimizer=frozen)
    together = training.fit_ensemble(mlp, pool, member, **settings)
    alone = training.fit(mlp, pool, member[2], model_id=2, **settings)
    assert_same_bits(take(together.variables, 2), alone.variables)
    kernels = together.variables["params"]["logits"]["kernel"]
    assert len({kernel.tobytes() for kernel in kernels}) == 5


@pytest.mark.parametrize("models_, width, devices", [(1, 1, 1), (5, 2, 1), (4, 4, 4), (7, 4, 4)])
def test_groups_hold_every_model_and_join_what_they_split(models_, width, devices):
    groups = DeviceGroups(Layout(width, devices, scan=True, matmul=False), models_)
    tree = {"a": np.arange(models_ * 3.0).reshape(models_, 3), "b": np.arange(models_)}
    parts = groups.split(tree)
    assert all(len(part["b"]) == width for part in parts)
    assert all(len(part["a"].sharding.device_set) == devices for part in parts if devices > 1)
    assert_same_bits(groups.join(parts), tree)


def test_padding_adds_nothing_not_even_a_nan():
    """Weight 0 where the loss and its gradient are NaN: mean, gradient and counts are those of the real rows."""
    model = models.from_linen(nn.Dense(3))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 5)).astype(np.float32), np.array([0, 2, 1, -7], np.int32)
    variables = {"params": {"kernel": rng.normal(size=(5, 3)).astype(np.float32), "bias": np.zeros(3, np.float32)}}

    def loss(logits, example):
        bad = example.y < 0
        size = 1 + jnp.sum(logits**2)
        root = jnp.sqrt(jnp.where(bad, -size, size))  # below 0 in the bad row alone: NaN, and so is its gradient
        return jnp.where(bad, root, -jax.nn.log_softmax(logits)[example.y])

    gradients = training.batch_gradients(model, Loss("planted", loss, losses.accuracy()))
    batch = Batch(x, y, np.array([1, 1, 1, 0], np.float32))
    actual, metrics = gradients(variables, batch, jax.random.key(0))

    probabilities = np.exp(x[:3] @ variables["params"]["kernel"])
    probabilities /= probabilities.sum(1, keepdims=True)
    error = (probabilities - np.eye(3)[y[:3]]) / 3
    np.testing.assert_allclose(actual["kernel"], x[:3].T @ error, atol=1e-6)
    np.testing.assert_allclose(actual["bias"], error.sum(0), atol=1e-6)
    assert metrics.count == 3 and metrics.metric == (probabilities.argmax(1) == y[:3]).sum()
    np.testing.assert_allclose(metrics.loss, -np.log(probabilities[np.arange(3), y[:3]]).mean(), rtol=1e-5)
    assert not np.isfinite(gradients(variables, batch._replace(weight=np.ones(4, np.float32)), None)[1].loss)
