"""Schedules that go layer by layer: order of the layers, values, training by hand, and what is refused."""

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from naive_training import assert_same_bits, start_of

from gecko_jax import models, training
from gecko_jax.training.schedules import for_model, tabulate
from gecko_jax.types import Model

DEEP = models.create("mlp", 3, hidden=(2,) * 11, activation="quadratic")
X = np.ones((1, 4), np.float32)
SMALL = models.create("mlp", 10, hidden=(8, 6), activation="quadratic")


def values_of(model, schedule, epochs, x=X):
    """{layer: its values over the epochs}."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    table = for_model(tabulate({"transition": schedule}, epochs), model, shapes, x)
    return dict(zip(shapes["transition"], np.array(table.values["transition"]).T, strict=True))


def test_the_last_layer_comes_first_by_calls_and_not_by_names():
    values = values_of(DEEP, training.last_layer_first(0.1, 0.9), 220)
    shares = np.arange(220) / 220
    for layer in range(11):  # "block10" and "block11" sort before "block2"
        start = 0.1 + (10 - layer) * 0.8 / 11
        np.testing.assert_allclose(
            values[f"block{layer + 1}"], np.interp(shares, [start, start + 0.8 / 11], [0, 1]), atol=1e-9
        )
    assert not any(each[:22].any() for each in values.values())  # the warm-up


def test_of_one_layer_it_is_the_linear_ramp():
    one = models.create("mlp", 3, hidden=(2,), activation="quadratic")
    values = values_of(one, training.last_layer_first(0.2, 0.7, 0.5, 1.0), 10)["block1"]
    linear = training.linear(0.2, 0.7, 0.5, 1.0)
    np.testing.assert_allclose(values, [linear(epoch / 10) for epoch in range(10)])


def as_two_collections(model):
    """The same model, its two layers' r in collections of their own, which two plain schedules can set."""

    def split(variables):
        first, second = (variables["transition"][f"block{i}"] for i in (1, 2))
        return {**{k: v for k, v in variables.items() if k != "transition"}, "r1": first, "r2": second}

    def join(variables):
        rest = {name: tree for name, tree in variables.items() if name not in ("r1", "r2")}
        return {**rest, "transition": {"block1": variables["r1"], "block2": variables["r2"]}}

    def apply(variables, x, **options):
        return model.apply(join(variables), x, **options)

    return Model(lambda key, x: split(model.init(key, x)), apply), split


@pytest.mark.parametrize("count", [1, 3])
def test_training_follows_each_layer_s_own_ramp(pool, member, count):
    """An ensemble, too: the values are those of the layers, and no axis of them is taken for one of models."""
    by_hand, split = as_two_collections(SMALL)
    start = jax.tree.map(lambda leaf: np.stack([leaf] * count), start_of(SMALL, pool.x))
    settings = dict(epochs=8, batch_size=30, optimizer=optax.sgd(0.05))
    fitted = training.fit_ensemble(
        SMALL,
        pool,
        member[:count],
        init=start,
        schedules={"transition": training.last_layer_first(0.25, 0.75)},
        **settings,
    )
    ramps = {"r2": training.linear(0.25, 0.5), "r1": training.linear(0.5, 0.75)}
    expected = training.fit_ensemble(by_hand, pool, member[:count], init=split(start), schedules=ramps, **settings)
    assert_same_bits(split(fitted.variables), dict(expected.variables))
    at_once = {"transition": training.linear(0.25, 0.75)}
    other = training.fit_ensemble(SMALL, pool, member[:count], init=start, schedules=at_once, **settings)
    assert np.abs(other.loss - fitted.loss).max() > 1e-4


def test_a_folder_remembers_the_layers_values(pool, tmp_path):
    settings = dict(
        epochs=4, batch_size=60, folder=tmp_path, schedules={"transition": training.last_layer_first(0, 0.7)}
    )
    fitted = training.fit(SMALL, pool, **settings)
    assert_same_bits(training.fit(SMALL, pool, **settings).variables, fitted.variables)  # read, not trained again
    settings["schedules"] = {"transition": training.last_layer_first(0, 0.75)}
    with pytest.raises(ValueError, match="schedules"):
        training.fit(SMALL, pool, **settings)


class Scaled(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return x * self.variable("transition", "r", lambda: np.ones((), np.float32)).value, None


class Scanned(nn.Module):
    @nn.compact
    def __call__(self, x):
        stacked = nn.scan(Scaled, variable_axes={"transition": 0}, split_rngs={}, length=3)
        return nn.Dense(3)(stacked()(x, None)[0])


class Unread(nn.Module):
    @nn.compact
    def __call__(self, x):
        self.variable("transition", "r", lambda: np.ones((), np.float32))
        return nn.Dense(3)(x)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: training.last_layer_first(0.5, 0.5), r"last_layer_first\(start=0.5, end=0.5\) must satisfy"),
        (lambda: values_of(DEEP, training.last_layer_first(0, 1), 5), "in the last of 5 epochs and must be 1"),
        (lambda: tabulate({"learning_rate": training.last_layer_first(0, 1)}, 5), "the learning rate is one for all"),
        (
            lambda: values_of(models.create("mlp", 2), training.last_layer_first(0, 0.5), 5),
            "no collection 'transition'",
        ),
        (
            lambda: values_of(models.from_linen(Unread()), training.last_layer_first(0, 0.5), 5),
            "is not read by the model",
        ),
        (lambda: values_of(models.from_linen(Scanned()), training.last_layer_first(0, 0.5), 5), r"has shape \(3,\)"),
        (lambda: values_of(DEEP, training.LayerSchedule(lambda s, p, n: np.inf), 5), "NaN or infinite"),
        (
            lambda: values_of(DEEP, training.LayerSchedule(lambda s, p, n: [1, 2]), 5),
            r"is \[1, 2\]; expected one number",
        ),
    ],
)
def test_what_cannot_go_layer_by_layer_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
