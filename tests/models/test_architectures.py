"""What every listed classifier promises, in each order and with each activation."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_hand import convolve

from gecko_jax import models
from gecko_jax.activations import ACTIVATIONS
from gecko_jax.models.blocks import ORDERS
from gecko_jax.models.pooling import average_pool, max_pool
from gecko_jax.types import Model

SMALL = {
    "alexnet": dict(channels=(2, 3, 2, 3, 2), hidden=(4, 5)),
    "lenet": dict(channels=(2, 3), hidden=4),
    "mlp": dict(hidden=(4, 5)),
}
EVERY = pytest.mark.parametrize("name", sorted(SMALL))  # the others are in test_image_networks.py
X = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype(np.float32)
INPUTS = {"alexnet": np.random.default_rng(0).normal(size=(3, 64, 66, 1)).astype(np.float32)}  # X of the others
KEY = jax.random.key(0, impl="rbg")  # its draws compile in a fraction of the default's time


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_the_alexnet_is_torchvision_s():
    """61,100,840 parameters, 6 x 6 x 256 values before the dense layers, 8 linear layers; 7 activations in between."""
    model, x = models.create("alexnet", 1000), jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    assert count(variables["params"]) == 61_100_840
    calls = {call.path: call for call in models.trace(model, variables, x)}
    assert len(calls) == 8 and calls["dense1"].input == (1, 6 * 6 * 256)
    sides = [calls[f"conv{i}"].output[1] for i in range(1, 6)]
    assert sides == [55, 27, 13, 13, 13]
    student = models.create("alexnet", 3, activation="quadratic", pooling="average", normalize=True)
    transition = jax.eval_shape(student.init, jax.random.key(0), x)["transition"]
    assert len(jax.tree.leaves(transition)) == 7
    with pytest.raises(
        ValueError, match=r"x has shape \(1, 62, 80, 3\); AlexNet takes images .* Enlarge smaller images"
    ):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 62, 80, 3)))


@pytest.mark.parametrize("name, parameters", [("lenet", 1_199_882), ("mlp", 932_362)])
def test_the_sizes_of_gecko_architectures(name, parameters):
    shapes = jax.eval_shape(models.create(name, 10).init, jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    assert count(shapes["params"]) == parameters


@EVERY
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("activation, normalize", [*((name, True) for name in sorted(ACTIVATIONS)), ("relu", False)])
def test_every_composition_gives_logits_and_updates(name, order, activation, normalize):
    x = INPUTS.get(name, X)
    model = models.create(name, 3, order=order, activation=activation, normalize=normalize, **SMALL[name])
    assert isinstance(model, Model) and model.rules == ()
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    plain, trained = (jax.eval_shape(lambda v, t=t: model.apply(v, x, train=t), variables) for t in (False, True))
    assert plain[0].shape == trained[0].shape == (3, 3) and plain[0].dtype == jnp.float32
    assert plain[1] == {}
    normalized = normalize or order == "xnor"
    assert set(trained[1]) == ({"batch_stats"} if normalized else set())
    if normalized:
        assert jax.tree.map(jnp.shape, trained[1]) == {"batch_stats": jax.tree.map(jnp.shape, variables["batch_stats"])}


@EVERY
@pytest.mark.parametrize("order", ORDERS)
def test_every_parameter_is_trained(name, order):
    x = INPUTS.get(name, X)
    model = models.create(name, 3, order=order, activation="quadratic", normalize=True, **SMALL[name])

    def from_the_start(key, x):
        variables = model.init(key, x)
        loss = lambda params: (model.apply({**variables, "params": params}, x, train=True)[0] ** 3).sum()  # noqa: E731
        return jax.grad(loss)(variables["params"])

    # A bias right before a BatchNorm has no effect, the mean being taken out; all else has.
    quickly = {"xla_backend_optimization_level": 0}  # compiled in a fraction of the time
    slopes = jax.jit(from_the_start, compiler_options=quickly)(KEY, x)
    for path, leaf in jax.tree_util.tree_leaves_with_path(slopes):
        assert np.isfinite(leaf).all()
        assert np.asarray(leaf).any() or "bias" in jax.tree_util.keystr(path), path


@EVERY
def test_examples_are_apart_when_not_training(name):
    x = INPUTS.get(name, X)
    model = models.create(name, 3, normalize=True, **SMALL[name])

    @jax.jit
    def apply(key, x):
        variables = model.init(key, x)
        return [model.apply(variables, rows)[0] for rows in (x, x[1:2])]

    together, alone = apply(KEY, x)
    np.testing.assert_allclose(alone, together[1:2], rtol=1e-4, atol=1e-5)


def by_hand(params, stats, order, x):
    """The MLP of `SMALL` in NumPy, in float64."""
    h = x.reshape(len(x), -1).astype(np.float64)

    def normal(h, path):
        scale, bias = params, stats
        for part in path:
            scale, bias = scale[part], bias[part]
        return (h - bias["mean"]) / np.sqrt(bias["var"] + 1e-4) * scale["scale"] + scale["bias"]

    def dense(h, name):
        return h @ params[name]["kernel"] + params[name]["bias"]

    for i in (1, 2):
        if order == "xnor":
            h = normal(h, [f"block{i}", "BatchNorm_0"]) if i > 1 else h
            h = np.maximum(dense(h, f"dense{i}"), 0)
        else:
            h = np.maximum(normal(dense(h, f"dense{i}"), [f"block{i}", "BatchNorm_0"]), 0)
    return dense(normal(h, ["BatchNorm_0"]) if order == "xnor" else h, "logits")


@pytest.mark.parametrize("order", ORDERS)
def test_mlp_against_numpy(order):
    model = models.create("mlp", 3, order=order, normalize=True, **SMALL["mlp"])
    shapes = jax.eval_shape(model.init, jax.random.key(0), X)
    rng = np.random.default_rng(1)
    variables = jax.tree.map(lambda leaf: np.abs(rng.normal(size=leaf.shape)).astype(np.float32), shapes)
    variables = {**variables, "params": jax.tree.map(lambda leaf: leaf - 0.7, variables["params"])}
    expected = by_hand(variables["params"], variables["batch_stats"], order, X)
    np.testing.assert_allclose(jax.jit(model.apply)(variables, X)[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("activation, function", [("relu", lambda x: np.maximum(x, 0)), ("square", np.square)])
@pytest.mark.parametrize("pooling, pool", [("max", np.max), ("average", np.mean)])
def test_lenet_against_numpy(order, activation, function, pooling, pool):
    """The pool is of what the activation gives, also of one that falls (the square), wherever it is computed."""
    model = models.create("lenet", 3, order=order, activation=activation, pooling=pooling, **SMALL["lenet"])
    shapes = jax.eval_shape(model.init, jax.random.key(0), X)
    rng = np.random.default_rng(3)
    params = jax.tree.map(lambda leaf: rng.normal(scale=0.5, size=leaf.shape).astype(np.float32), shapes["params"])
    collections = {name: tree for name, tree in shapes.items() if name != "params"}
    rest = jax.tree.map(lambda leaf: rng.uniform(0.5, 2, leaf.shape).astype(np.float32), collections)

    def normal(h, *path):
        scale, stats = params, rest.get("batch_stats")
        if stats is None:
            return h
        for part in path:
            scale, stats = scale[part], stats[part]
        return (h - stats["mean"]) / np.sqrt(stats["var"] + 1e-4) * scale["scale"] + scale["bias"]

    def layer(h, name):
        kernel = params[name]["kernel"]
        product = convolve(h, kernel, (1, 1), [(0, 0)] * 2, 0) if kernel.ndim == 4 else h @ kernel
        return product + params[name]["bias"]

    h = function(layer(X.astype(np.float64), "conv1"))
    h = function(layer(normal(h, "block2", "BatchNorm_0"), "conv2"))
    h = pool(h.reshape(3, 2, 2, 2, 2, 3), (2, 4)).reshape(3, -1)
    h = normal(function(layer(normal(h, "block3", "BatchNorm_0"), "dense")), "BatchNorm_0")
    actual = jax.jit(model.apply)({**rest, "params": params}, X)[0]
    np.testing.assert_allclose(actual, layer(h, "logits"), rtol=1e-3, atol=1e-3)


def test_an_average_pool_comes_before_the_norm_as_the_maximum_does():
    """Teacher and student then differ in the pool alone, and under encryption pool and norm join the convolution."""
    model = models.create("lenet", 3, normalize=True, pooling="average", **SMALL["lenet"])

    @jax.jit
    def start(key, x):
        variables = model.init(key, x)
        return variables["params"], model.apply(variables, x, train=True)[1]

    (params, updates), h = start(KEY, X), X.astype(np.float64)
    for i in (1, 2):
        h = convolve(h, np.asarray(params[f"conv{i}"]["kernel"]), (1, 1), [(0, 0)] * 2, 0)
        if i == 2:
            h = h.reshape(3, 2, 2, 2, 2, 3).mean((2, 4))
        mean, variance = h.mean((0, 1, 2)), h.var((0, 1, 2))
        statistics = updates["batch_stats"][f"block{i}"]["BatchNorm_0"]
        np.testing.assert_allclose(statistics["var"], 0.9 + 0.1 * variance, rtol=1e-4)
        h = np.maximum((h - mean) / np.sqrt(variance + 1e-4), 0)


def values_and_slopes(pools):
    """Of each of the pools, compiled as one program: what it gives, and the gradient of the sum of its squares."""
    x = np.random.default_rng(2).normal(size=(2, 7, 9, 3)).astype(np.float32)
    square = lambda pool: lambda x: (pool(x) ** 2).sum()  # noqa: E731
    results = jax.jit(lambda x: [(pool(x), jax.grad(square(pool))(x)) for pool in pools])(x)
    return list(zip(*results, strict=True))


@pytest.mark.parametrize("side", [1, 2, 3])
def test_max_pool_is_linen_max_pool(side):
    values, slopes = values_and_slopes(
        [lambda x: max_pool(x, side), lambda x: nn.max_pool(x, (side,) * 2, (side,) * 2)]
    )
    np.testing.assert_array_equal(*values)
    np.testing.assert_allclose(*slopes, rtol=1e-6)


@pytest.mark.parametrize(("side", "stride"), [(1, None), (2, None), (3, None), (2, 1), (3, 2), (2, 3)])
def test_average_pool_is_linens_with_the_maximum_s_geometry(side, stride):
    linens = lambda x: nn.avg_pool(x, (side,) * 2, (stride or side,) * 2)  # noqa: E731
    values, slopes = values_and_slopes([lambda x: average_pool(x, side, stride), linens])
    np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(*slopes, atol=1e-6)
    assert values[0].shape == jax.eval_shape(lambda x: max_pool(x, side, stride), jnp.zeros((2, 7, 9, 3))).shape


@pytest.mark.parametrize(("side", "stride"), [(2, 1), (3, 1), (3, 2), (2, 3)])
def test_overlapping_windows_are_linens_too(side, stride):
    linens = lambda x: nn.max_pool(x, (side, side), (stride, stride))  # noqa: E731
    values, slopes = values_and_slopes([lambda x: max_pool(x, side, stride), linens])
    np.testing.assert_array_equal(*values)
    np.testing.assert_allclose(*slopes, rtol=1e-6)


def test_a_padded_pool_is_linens():
    x = np.random.default_rng(2).normal(size=(2, 7, 8, 3)).astype(np.float32)
    options = ((3, 3), (2, 2), [(1, 1), (1, 1)])
    pools = lambda x: (max_pool(x, 3, 2, 1), average_pool(x, 3, 2, 1))  # noqa: E731
    (highest, mean), linens = jax.jit(lambda x: (pools(x), [pool(x, *options) for pool in (nn.max_pool, nn.avg_pool)]))(
        x
    )
    np.testing.assert_array_equal(highest, linens[0])
    np.testing.assert_allclose(mean, linens[1], rtol=1e-5, atol=1e-6)


def test_windows_that_are_none_are_named():
    for options, said in (((0,), "side=0"), ((5,), "side=5"), ((2, 0), "stride=0"), ((2, 1.5), "stride=1.5"),
                          ((2, 1, 2), "padding=2 must be below side=2"), ((7, 1, 1), "side=7")):  # fmt: skip
        for pool in (max_pool, average_pool):
            with pytest.raises(ValueError, match=said):
                pool(jnp.zeros((1, 4, 6, 2)), *options)


def test_max_pool_shares_a_gradient_among_equal_maxima_and_has_both_modes():
    x = np.random.default_rng(3).integers(0, 3, (2, 4, 6, 3)).astype(np.float32)  # full of ties
    plain = lambda x: x.reshape(2, 2, 2, 3, 2, 3).max(axis=(2, 4))  # noqa: E731  (differentiated by JAX's own rule)
    pools = (plain, lambda x: max_pool(x, 2))
    reverse, forward = jax.jit(lambda x: [[mode(pool)(x) for pool in pools] for mode in (jax.jacrev, jax.jacfwd)])(x)
    np.testing.assert_allclose(*reverse)
    np.testing.assert_allclose(*forward)


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: models.create("lenett", 10), "name='lenett' .*Did you mean 'lenet'"),
        (lambda: models.create("mlp", 0), "num_classes=0 must be at least 1"),
        (lambda: models.create("mlp", 10, width=3), "option of 'mlp'='width' is not known"),
        (lambda: models.create("mlp", 10, channels=(1, 2)), "'channels'"),
        (lambda: models.create("mlp", 10, order="prae"), "order='prae'"),
        (lambda: models.create("mlp", 10, activation="rellu"), "Did you mean 'relu'"),
        (lambda: models.create("lenet", 10, pooling="mean"), "pooling='mean' is not known"),
        (lambda: models.create("alexnet", 10, channels=(1, 2)), r"channels=\(1, 2\) has 2 entries; expected 5"),
        (lambda: models.create("alexnet", 10, hidden=(1,)), r"hidden=\(1,\) has 1 entries; expected 2"),
        (lambda: models.create("mlp", 10, pooling="max"), "option of 'mlp'='pooling' is not known"),
        (lambda: models.create("mlp", 10, activation_options={"a": 1}), "option of activation 'relu'='a' is not known"),
        (lambda: models.create("lenet", 10).init(jax.random.key(0), X[:, :5]), r"x has shape \(3, 5, 8, 1\)"),
        (lambda: models.create("lenet", 10).init(jax.random.key(0), X[0]), r"x has shape \(8, 8, 1\)"),
    ],
)
def test_bad_settings_are_named(make, said):
    with pytest.raises(ValueError, match=said):
        make()
