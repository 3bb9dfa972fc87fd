"""NaN: the message names the model, the epoch, the step and the first layer that went wrong."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from naive_training import naive_fit, start_of, starts_of

from gecko_jax import datasets, losses, models, training
from gecko_jax.training.diagnosis import NotFinite, check_trained
from gecko_jax.types import Batch

TX = training.optimizer("momentum", 0.1)
SETTINGS = dict(epochs=4, batch_size=10)


class Planted(nn.Module):
    """x / (1 - r): infinite from the moment that the transition is complete."""

    @nn.compact
    def __call__(self, x):
        r = self.variable("transition", "r", lambda: jnp.ones(()))
        return x / (1 - r.value)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dense(4, name="before")(x)
        return nn.Dense(10, name="after")(Planted(name="planted")(x))


def test_a_rate_that_is_too_high(pool):
    """Squares explode; epoch and step as a loop of its own finds them."""
    model = models.create("mlp", 10, hidden=(8,), activation="square")
    start, tx = start_of(model, pool.x), optax.sgd(1.0)
    losses = naive_fit(model, pool, np.ones(60, bool), start, tx, epochs=4, batch_size=20).losses
    epoch, step = divmod(int(np.argmin(np.isfinite(losses))), 3)
    assert not np.isfinite(losses).all() and epoch > 0
    with pytest.raises(training.NotFinite, match="Lower the learning rate") as caught:
        training.fit(model, pool, init=start, optimizer=tx, epochs=4, batch_size=20)
    assert (caught.value.model, caught.value.epoch, caught.value.step) == (0, epoch, step)
    assert caught.value.layer.startswith(("the output of layer", "'params/"))


def test_nan_in_one_row_that_one_of_several_models_trains_on(mlp, pool, member):
    row = 33
    x = pool.x.copy()
    x[row, 5] = np.nan
    member = member.copy()
    member[:, row] = [False, False, True, False, False]
    names = [3, 1, 7, 0, 4]
    init = starts_of(mlp, pool.x, 5)
    order = datasets.batches(member, 10, 0, 0, model_ids=names)
    step = int(np.argwhere((order.indices[2] == row) & (order.weight[2] == 1))[0, 0])
    with pytest.raises(training.NotFinite) as caught:
        training.fit_ensemble(mlp, pool._replace(x=x), member, model_ids=names, init=init, optimizer=TX, **SETTINGS)
    error = caught.value
    assert (error.model, error.epoch, error.step) == (7, 0, step)
    assert error.layer == f"the input x, in row {row} of the data"
    assert f"model 7 is not finite at epoch 0, step {step} (loss nan)" in str(error)


def test_a_value_that_one_of_several_models_starts_from(mlp, pool, member):
    init = starts_of(mlp, pool.x, 5)
    init["params"]["logits"]["bias"][3, 2] = np.inf
    with pytest.raises(training.NotFinite) as caught:
        training.fit_ensemble(mlp, pool, member, init=init, optimizer=TX, **SETTINGS)
    assert (caught.value.model, caught.value.epoch, caught.value.step) == (3, 0, 0)
    assert caught.value.layer == "'params/logits/bias', already before the step"


def test_a_planted_layer_during_a_transition_and_the_folder_it_leaves(pool, tmp_path, monkeypatch):
    """r is 0, 1/2 and 1 in the epochs 0 to 2; the run stops in epoch 2, again and again."""
    monkeypatch.setattr(training.ensemble, "CHECKPOINT_INTERVAL_SECONDS", 0)
    model = models.from_linen(Net())
    for _ in range(2):
        with pytest.raises(training.NotFinite) as caught:
            training.fit_ensemble(
                model, pool, np.ones((2, 60), bool), model_ids=[5, 6], init=starts_of(model, pool.x, 2),
                schedules={"transition": training.linear(0, 0.5)}, folder=tmp_path,
                optimizer=training.optimizer("sgd", 1e-3), **SETTINGS,
            )  # fmt: skip
        error = caught.value
        assert (error.model, error.epoch, error.step, error.layer) == (5, 2, 0, "the output of layer 'planted'")
        assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2
        assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["2"]


def test_an_outermost_result_is_named_by_its_class(pool):
    class Last(nn.Module):
        @nn.compact
        def __call__(self, x):
            return jnp.log(nn.Dense(10)(x) * 0 - 1)

    model = models.from_linen(Last())
    with pytest.raises(training.NotFinite, match="the output of layer 'Last'"):
        training.fit(model, pool, init=start_of(model, pool.x), epochs=1, batch_size=60)


def test_a_loss_that_is_not_finite_by_itself(mlp, pool):
    def gradients(variables, batch, key):
        grads, metrics = training.batch_gradients(mlp, training.ensemble.cross_entropy())(variables, batch, key)
        return grads, metrics._replace(loss=metrics.loss / 0)

    with pytest.raises(training.NotFinite, match="the loss itself; the outputs of all layers are finite"):
        training.fit(mlp, pool, init=start_of(mlp, pool.x), gradients=gradients, epochs=1, batch_size=60)


def test_the_last_update_which_no_loss_sees(mlp, pool):
    """Twelve steps, the last of an infinite size: every loss is finite, and what would be returned is not."""
    last = optax.sgd(lambda count: jnp.where(count == 11, jnp.inf, 0.1))
    with pytest.raises(training.NotFinite, match="after the step") as caught:
        training.fit(mlp, pool, init=start_of(mlp, pool.x), optimizer=last, model_id=9, epochs=2, batch_size=10)
    assert (caught.value.model, caught.value.epoch, caught.value.step) == (9, 1, 5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_last_update_that_is_not_finite_is_told_in_every_type(dtype):
    leaf = jnp.array([[1.0, 2.0], [1.0, jnp.nan]], dtype)
    with pytest.raises(NotFinite, match="model 7 .*'params/kernel', after the step"):
        check_trained({"params": {"kernel": np.asarray(leaf)}}, (3, 7), 1, np.array([2, 2]), np.zeros(2))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_numbers_of_every_type_are_targets_and_not_classes(dtype):
    y = np.zeros(2, jnp.dtype(dtype))
    with pytest.raises(ValueError, match="reads class numbers; y has dtype"):
        losses.cross_entropy().apply(jnp.zeros(3), Batch(None, y[0], None))
    assert losses.squared_error().apply(jnp.ones(1), Batch(None, y[0], None)) == 0.5
    assert losses.cross_entropy().apply(jnp.zeros(3), Batch(None, np.uint8(1), None)) > 1
