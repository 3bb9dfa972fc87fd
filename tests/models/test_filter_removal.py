"""Filters that are really removed: what the smaller network computes, and which networks are refused by name."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import costs, models, quantizers
from gecko_jax.types import Rule

X = np.random.default_rng(0).normal(size=(3, 8, 8, 2)).astype(np.float32)


def weakest(kernel, share):
    strength = np.abs(np.asarray(kernel, np.float64)).reshape(-1, kernel.shape[-1]).sum(0)
    return np.argsort(strength)[: round(share * len(strength))]


@pytest.mark.parametrize("order", ["post", "xnor"])
def test_a_smaller_network_computes_without_the_weakest_filters(order, filled):
    """A LeNet with batch normalizations, through its flattening, against zeros in the next layers' kernels."""
    net = models.create("lenet", 3, channels=(4, 6), hidden=10, normalize=True, order=order)
    variables = filled(net, X)
    smaller = models.remove_filters(net, variables, X, 0.5)
    params = variables["params"]
    without = {name: dict(layer) for name, layer in params.items()}
    for layer, reader in (("conv1", "conv2"), ("conv2", "dense"), ("dense", "logits")):
        gone, channels = weakest(params[layer]["kernel"], 0.5), params[layer]["kernel"].shape[-1]
        kernel = np.array(without[reader]["kernel"])
        for place in range(kernel.shape[-2]):
            if place % channels in gone:
                kernel[..., place, :] = 0
        without[reader]["kernel"] = kernel
    expected = net.apply({**variables, "params": without}, X)[0]
    np.testing.assert_allclose(smaller.model.apply(smaller.variables, X)[0], expected, rtol=2e-4, atol=1e-4)
    shapes = {name: layer["kernel"].shape for name, layer in smaller.variables["params"].items() if "kernel" in layer}
    assert shapes == {"conv1": (3, 3, 2, 2), "conv2": (3, 3, 2, 3), "dense": (12, 5), "logits": (5, 3)}
    bytes_of = [costs.cost(*each, X).stored_bytes.value for each in ((net, variables), smaller)]
    macs = [costs.cost(*each, X).macs[32, 32].value for each in ((net, variables), smaller)]
    assert bytes_of[1] < bytes_of[0] and macs[1] == 36 * 9 * 2 * 2 + 16 * 9 * 2 * 3 + 12 * 5 + 5 * 3 < macs[0]


def test_it_is_saved_quantized_and_made_smaller_again(filled, tmp_path):
    net, x = models.create("mlp", 3, hidden=(8, 6)), X.reshape(3, -1)
    smaller = models.remove_filters(net, filled(net, x), x, 0.5, path="dense1", strength="l2")
    again = models.remove_filters(*smaller, x, 0.5)
    assert [leaf.shape for leaf in jax.tree.leaves(again.variables)] == [(2,), (128, 2), (3,), (2, 3), (3,), (3, 3)]
    models.save(tmp_path / "net", *again, x)
    saved = models.load(tmp_path / "net")
    np.testing.assert_array_equal(saved.model.apply(saved.variables, x)[0], again.model.apply(again.variables, x)[0])
    binary = models.quantized(again.model, [Rule(path="dense2", weight=quantizers.binary())])
    assert binary.apply(again.variables, x)[0].shape == (3, 3)


class Net(nn.Module):
    """Two convolutions whose outputs meet in a way, and a dense layer."""

    join: str

    @nn.compact
    def __call__(self, x):
        a = nn.Conv(4, (3, 3), name="first")(x)
        if self.join == "grouped":
            return nn.Dense(3, name="head")(nn.Conv(4, (3, 3), feature_group_count=4, name="depthwise")(a).mean((1, 2)))
        if self.join == "group_norm":
            a = nn.GroupNorm(2, name="norm")(a)
        if self.join == "softmax":
            a = nn.softmax(a)
        if self.join == "transposed":
            return nn.Dense(3, name="head")(nn.relu(a).transpose(0, 3, 1, 2).reshape(len(x), -1))
        b = nn.Conv(4, (3, 3), name="second")(nn.relu(a))
        if self.join == "concatenation":
            b = jnp.concatenate([a, b], -1)
        return nn.Dense(3, name="head")(nn.relu(a + b if self.join == "sum" else b).mean((1, 2)))


@pytest.mark.parametrize(
    "join, message",
    [
        ("sum", "'first' cannot be removed: it feeds 'head' together with second: a residual sum or a concatenation"),
        ("concatenation", "'first' cannot be removed: it feeds 'head' together with second"),
        ("grouped", "'first' cannot be removed: it feeds 'depthwise', a grouped convolution"),
        ("group_norm", r"is normalized by 'norm' \(GroupNorm\) together with the channels"),
        ("softmax", "the network computes something else .* mixes the channels"),
        ("transposed", "the network computes something else .* transposition before a flattening"),
    ],
)
def test_networks_whose_filters_depend_on_one_another_are_refused_by_name(join, message, filled):
    net = models.from_linen(Net(join))
    with pytest.raises(ValueError, match=message):
        models.remove_filters(net, filled(net, X), X, 0.5)


def test_the_scale_of_a_normalization_chooses_and_other_layers_stay(filled):
    """Network slimming; a module of the user's own, pruned inside its residual branch alone."""

    class Branch(nn.Module):
        @nn.compact
        def __call__(self, x):
            inner = nn.relu(nn.BatchNorm(use_running_average=True, name="norm")(nn.Conv(6, (3, 3), name="inner")(x)))
            return nn.Dense(3, name="head")((x + nn.Conv(2, (3, 3), name="outer")(inner)).mean((1, 2)))

    net = models.from_linen(Branch())
    variables = filled(net, X)
    variables["params"]["norm"]["scale"] = np.array([3.0, -9.0, 1.0, 8.0, 0.1, 2.0], np.float32)
    smaller = models.remove_filters(net, variables, X, 0.5, path="inner", strength="scale")
    np.testing.assert_array_equal(smaller.variables["params"]["norm"]["scale"], [3.0, -9.0, 8.0])
    kernel = variables["params"]["inner"]["kernel"]
    np.testing.assert_array_equal(smaller.variables["params"]["inner"]["kernel"], kernel[..., [0, 1, 3]])


def test_other_arguments_are_refused(filled):
    net, x = models.create("mlp", 3, hidden=(8,)), X.reshape(3, -1)
    variables = filled(net, x)
    for options, message in [
        (dict(share=1.0), "share=1.0"),
        (dict(share=0.5, strength="l3"), "strength='l3' is not known"),
        (dict(share=0.5, path="conv"), "path='conv' is found in no layer's path. Layers: dense1, logits"),
        (dict(share=0.5, path="logits"), "'logits' cannot be removed: it feeds the network's outputs"),
        (dict(share=0.5, strength="scale"), "reads the scale of one batch normalization behind 'dense1'; found none"),
    ]:
        with pytest.raises(ValueError, match=message):
            models.remove_filters(net, variables, x, **options)
    with pytest.raises(ValueError, match="model is quantized, shares weights or has hooks"):
        models.remove_filters(models.pruned(net, 0.5), variables, x, 0.5)
    with pytest.raises(ValueError, match="features names conv; the nn.Dense and nn.Conv of .* are dense1, logits"):
        models.with_features(net, {"conv": 3}).apply(variables, x)
