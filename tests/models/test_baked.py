"""A baked model computes what the quantized one does, and calls no layer."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import models, quantizers


class Network(nn.Module):
    """A convolution, BatchNorm and two dense layers."""

    @nn.compact
    def __call__(self, x, training: bool):
        x = nn.relu(nn.Conv(4, (3, 3))(x))
        x = nn.BatchNorm(use_running_average=not training)(x).reshape(len(x), -1)
        return {"logits": nn.Dense(3)(nn.relu(nn.Dense(6)(x))), "features": x}


RULES = [
    ("Conv", quantizers.int8(), quantizers.int8_input()),
    ("Dense_0", quantizers.ternary(), quantizers.binary()),
    ("Dense_1", quantizers.lsq(4), quantizers.pact(4)),
]


@pytest.fixture(scope="module")
def network():
    """(model, variables, x)"""
    model, x = models.quantized(models.from_linen(Network()), RULES, float_layers=()), np.linspace(-2, 3, 80)
    x = x.reshape(5, 4, 4, 1).astype(np.float32) ** 2
    variables = jax.jit(model.init)(jax.random.key(0), x)
    _, updates = jax.jit(lambda v: model.apply(v, x, train=True))(variables)  # measures the range
    return model, {**variables, **updates}, x


def test_a_baked_model_computes_the_same_though_its_layers_are_gone(network, monkeypatch):
    model, variables, x = network
    expected = jax.jit(lambda v: model.apply(v, x)[0])(variables)
    predict = models.baked(model, variables, x)
    for layer in nn.Dense, nn.Conv, nn.BatchNorm:  # as a converter does
        monkeypatch.setattr(layer, "__call__", lambda *args, **kwargs: pytest.fail("a layer is called"))
    compiled = jax.jit(predict)(x)
    assert set(compiled) == {"logits", "features"}
    jax.tree.map(np.testing.assert_array_equal, compiled, expected)
    exported = jax.export.export(jax.jit(predict))(jax.ShapeDtypeStruct(x.shape, jnp.float32))
    jax.tree.map(np.testing.assert_array_equal, jax.export.deserialize(exported.serialize()).call(x), expected)


def test_weights_are_constants_of_few_numbers(network):
    model, variables, x = network
    constants = jax.make_jaxpr(models.baked(model, variables, x))(x).consts
    kernels = {leaf.shape: leaf for leaf in map(np.asarray, constants)}
    assert len(np.unique(kernels[6, 3])) == 3 and len(np.unique(kernels[64, 6])) <= 16
    assert all(len(np.unique(kernels[3, 3, 1, 4][..., c])) <= 255 for c in range(4))


def test_another_batch_and_another_gradient(network):
    model, variables, x = network
    predict = models.baked(model, variables, x)
    np.testing.assert_array_equal(jax.jit(predict)(x[:2])["logits"], jax.jit(predict)(x)["logits"][:2])

    def loss(of):
        return jax.jit(jax.grad(lambda x: of(x)["logits"].sum()))(x)

    gradient = loss(lambda x: model.apply(variables, x)[0])
    np.testing.assert_allclose(loss(predict), gradient, atol=1e-6)
    assert np.any(gradient)


def test_a_range_that_was_never_measured_is_refused(network):
    model, _, x = network
    with pytest.raises(ValueError, match="range of the inputs of 'Conv_0' was never measured"):
        models.baked(model, jax.jit(model.init)(jax.random.key(0), x), x)
