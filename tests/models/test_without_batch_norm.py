"""BatchNorm taken out: against nn.GroupNorm and nn.LayerNorm, and no example sees another."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gecko_jax import clippings, losses, models, privacy, quantizers, training
from gecko_jax.models.blueprint import build
from gecko_jax.types import Examples

KEY = jax.random.key(0)
IMAGES = jax.random.normal(jax.random.key(1), (4, 6, 6, 3))
ROWS = jax.random.normal(jax.random.key(2), (4, 5))


class Net(nn.Module):
    """A user's own network, with a norm of the kind that the test asks for."""

    norm: str = "batch"

    def normalized(self, x, train):
        if self.norm == "batch":
            return nn.BatchNorm(use_running_average=not train, epsilon=1e-3, name="norm")(x)
        if self.norm == "group":
            return nn.GroupNorm(2, epsilon=1e-3, name="norm")(x)
        return nn.LayerNorm(epsilon=1e-3, name="norm", reduction_axes=range(1, x.ndim), feature_axes=-1)(x)

    @nn.compact
    def __call__(self, x, train=False):
        x = self.normalized(nn.Conv(8, (3, 3))(x) if x.ndim == 4 else nn.Dense(8)(x), train)
        return nn.Dense(3)(nn.relu(x).reshape(len(x), -1))


def moved(variables):
    """Parameters at which scales and biases do something."""
    return jax.tree.map(
        lambda p: p + 0.3 * np.random.default_rng(p.size).standard_normal(p.shape, np.float32),
        jax.device_get(variables),
    )


@pytest.mark.parametrize("x", [IMAGES, ROWS], ids=["images", "rows"])
@pytest.mark.parametrize("kind", ["group", "layer"])
def test_it_is_the_network_with_flax_s_own_layer(kind, x):
    model, expected = models.without_batch_norm(models.from_linen(Net()), kind), models.from_linen(Net(kind))
    variables = jax.jit(model.init)(KEY, x)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, jax.eval_shape(expected.init, KEY, x))
    variables = moved(variables)
    for train in (False, True):
        outputs, updates = jax.jit(model.apply, static_argnames="train")(variables, x, train=train)
        assert updates == {}
        np.testing.assert_allclose(
            outputs,
            jax.jit(expected.apply, static_argnames="train")(variables, x, train=train)[0],
            rtol=1e-4,
            atol=1e-5,
        )


def test_an_architecture_of_the_zoo_becomes_its_own_group_form():
    settings = dict(channels=(8, 8), hidden=16)
    model = models.without_batch_norm(models.create("lenet", 3, normalize="batch", **settings))
    group = models.create("lenet", 3, normalize="group", **settings)
    x = jnp.tile(IMAGES, (1, 2, 2, 1))
    variables = moved(jax.jit(model.init)(KEY, x))
    assert set(variables) == {"params"} and set(jax.eval_shape(group.init, KEY, x)) == {"params"}
    params = {
        name: {"GroupNorm_0": tree["BatchNorm_0"]} if "BatchNorm_0" in tree else tree
        for name, tree in variables["params"].items()
    }
    outputs = jax.jit(model.apply)(variables, x)[0]
    np.testing.assert_allclose(outputs, jax.jit(group.apply)({"params": params}, x)[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(
        jax.jit(build(model.blueprint).apply)(variables, x)[0], outputs
    )  # as a saved model is built


def test_no_example_sees_another_and_private_training_takes_it():
    model = models.without_batch_norm(models.from_linen(Net()))
    variables = moved(jax.jit(model.init)(KEY, ROWS))
    apply = jax.jit(model.apply, static_argnames="train")
    alone = np.concatenate([apply(variables, row[None], train=True)[0] for row in np.asarray(ROWS)])
    np.testing.assert_allclose(apply(variables, ROWS, train=True)[0], alone, rtol=1e-5, atol=1e-6)
    pool = Examples(np.asarray(ROWS), np.array([0, 1, 2, 0], np.int32), np.arange(4))
    sizes = dict(n=4, batch_size=2, epochs=1, delta=0.1, noise_multiplier=1.0)
    run = privacy.private_training(model, losses.cross_entropy(), clippings.flat(1.0), **sizes)
    trained = training.fit(model, pool, optimizer=optax.sgd(0.1), seed=0, **run.options)
    assert set(trained.variables) == {"params"}


def test_it_can_be_quantized_and_other_statistics_stay():
    class Two(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            x = nn.SpectralNorm(nn.Dense(8))(x, update_stats=train)
            x = nn.BatchNorm(use_running_average=not train)(x)
            return nn.Dense(3)(nn.Dense(8)(x))

    model = models.without_batch_norm(models.from_linen(Two()))
    binary = models.quantized(model, [("Dense_1", quantizers.xnor(), quantizers.binary())], float_layers=())
    variables = jax.jit(binary.init)(KEY, ROWS)
    assert set(variables["batch_stats"]) == {"SpectralNorm_0"}
    calls = {call.path: call for call in models.trace(binary, variables, ROWS)}
    assert calls["Dense_1"].weight.name == "xnor" and len(calls) == 3
    assert set(jax.jit(binary.apply, static_argnames="train")(variables, ROWS, train=True)[1]) == {"batch_stats"}


class Refused(nn.Module):
    options: dict
    mask: bool = False

    @nn.compact
    def __call__(self, x, train=False):
        mask = jnp.ones_like(x, bool) if self.mask else None
        return nn.BatchNorm(use_running_average=not train, **self.options)(x, mask=mask)


BAD = {
    "another axis": (Refused({"axis": 1}), IMAGES, r"BatchNorm 'BatchNorm_0' has axis=1 on an input of shape"),
    "a mask": (Refused({}, mask=True), ROWS, "called with a mask"),
    "one number": (Refused({}), ROWS[:, :1], "has one number for each example"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_it_cannot_replace_is_refused(what):
    module, x, message = BAD[what]
    model = models.without_batch_norm(models.from_linen(module))
    variables = model.init(KEY, x)
    with pytest.raises(ValueError, match=message):
        model.apply(variables, x)


def test_trained_statistics_no_batch_norm_and_a_quantized_model_are_refused():
    net = models.from_linen(Net())
    with pytest.raises(ValueError, match="hold the statistics of BatchNorm 'norm'.*Start from this model's own init"):
        models.without_batch_norm(net).apply(net.init(KEY, ROWS), ROWS)
    with pytest.raises(ValueError, match="calls no nn.BatchNorm"):
        models.without_batch_norm(models.create("mlp", 3, hidden=(4,))).init(KEY, ROWS)
    with pytest.raises(ValueError, match="quantized already: take BatchNorm out first"):
        models.without_batch_norm(models.quantized(net, [("Conv", quantizers.binary())]))
    with pytest.raises(ValueError, match="kind='instance' is not known"):
        models.without_batch_norm(net, "instance")
