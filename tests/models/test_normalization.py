"""Every kind of normalization against NumPy, and what the kinds without batch statistics are for."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_hand import convolve

from gecko_jax import clippings, losses, models, privacy, quantizers, training
from gecko_jax.models.blocks import ORDERS
from gecko_jax.models.normalization import groups_of
from gecko_jax.types import Batch, Examples

SMALL = {"lenet": dict(channels=(8, 12), hidden=20), "mlp": dict(hidden=(16, 10))}
GROUPS = {8: 2, 10: 2, 12: 3, 16: 4, 20: 5, 108: 6}  # of all widths above; 108 = 3 * 3 * 12 is what is flattened
NAMES = {"group": "GroupNorm_0", "layer": "LayerNorm_0", "batch": "BatchNorm_0", True: "BatchNorm_0"}
X = np.random.default_rng(0).normal(size=(3, 10, 10, 1)).astype(np.float32)


@pytest.mark.parametrize(
    "channels, groups", [*GROUPS.items(), (512, 8), (64, 8), (32, 8), (24, 6), (7, 1), (4, 1), (1, 1), (509, 1)]
)
def test_groups_divide_the_channels_and_have_four_at_least(channels, groups):
    assert groups_of(channels) == groups


def drawn(model, x=X):
    """Variables off their first values; a running variance is above 0."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)

    def draw(path, leaf):
        fan = max(np.prod(leaf.shape[:-1]), 4.0)
        positive = "var" in jax.tree_util.keystr(path)
        value = rng.uniform(0.5, 2, leaf.shape) if positive else rng.normal(size=leaf.shape) / fan**0.5
        return value.astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def normal(x, kind, layer, stats=None):
    """NumPy's normalization of x [b, ..., channels], one example and one group after the other."""
    x = np.asarray(x, np.float64)
    if kind in ("batch", True):
        actual = (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-4)
    else:
        actual = np.empty_like(x)
        groups = 1 if kind == "layer" else GROUPS[x.shape[-1]]
        for i, one in enumerate(x):
            for part in np.split(np.arange(x.shape[-1]), groups):
                actual[i][..., part] = (one[..., part] - one[..., part].mean()) / np.sqrt(one[..., part].var() + 1e-4)
    return actual * layer["scale"] + layer["bias"]


def by_hand(name, kind, order, variables):
    """Either network in NumPy, with relu."""
    params, stats = variables["params"], variables.get("batch_stats", {})

    def norm(h, *path):
        layer, kept = params, stats
        for part in (*path, NAMES[kind]):
            layer, kept = layer[part], kept.get(part, {})
        return normal(h, kind, layer, kept)

    def product(h, layer):
        kernel = params[layer]["kernel"]
        result = convolve(h, kernel, (1, 1), [(0, 0)] * 2, 0) if kernel.ndim == 4 else h.reshape(len(h), -1) @ kernel
        return result + params[layer]["bias"]

    def pooled(h, layer):
        if layer != "conv2":
            return h
        b, height, width, c = h.shape
        return h.reshape(b, height // 2, 2, width // 2, 2, c).max((2, 4))

    layers = ["conv1", "conv2", "dense"] if name == "lenet" else ["dense1", "dense2"]
    h = X.astype(np.float64)
    for i, layer in enumerate(layers, 1):
        if layer.startswith("dense"):
            h = h.reshape(len(h), -1)
        if order == "xnor":
            h = norm(h, f"block{i}") if i > 1 else h
            h = pooled(np.maximum(product(h, layer), 0), layer)
        else:
            h = np.maximum(norm(pooled(product(h, layer), layer), f"block{i}"), 0)
    return product(norm(h) if order == "xnor" else h, "logits")


@pytest.mark.parametrize("name", sorted(SMALL))
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", ["batch", "group", "layer"])
def test_networks_against_numpy(name, order, kind):
    model = models.create(name, 3, order=order, normalize=kind, **SMALL[name])
    variables = drawn(model)
    actual = jax.jit(model.apply)(variables, jnp.asarray(X))[0]
    np.testing.assert_allclose(actual, by_hand(name, kind, order, variables), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("order", ORDERS)
def test_true_is_batch_and_the_order_xnor_normalizes_in_any_case(order):
    texts = []
    for kind in (True, "batch", False):
        model = models.create("mlp", 3, order=order, normalize=kind, hidden=(4, 4))
        shapes = jax.eval_shape(model.init, jax.random.key(0), X)
        texts.append(str(jax.make_jaxpr(lambda v, model=model: model.apply(v, X, train=True))(shapes)))
    assert texts[0] == texts[1] and (texts[2] == texts[0]) == (order == "xnor")


@pytest.mark.parametrize("order, kind", [("post", "layer"), ("xnor", "group")])
def test_without_batch_statistics_examples_are_apart_in_training_too(order, kind):
    model = models.create("lenet", 3, order=order, normalize=kind, **SMALL["lenet"])
    variables = drawn(model)
    assert set(variables) == {"params"}
    run = jax.jit(lambda v, x: model.apply(v, x, train=True))
    together, updates = run(variables, X)
    assert updates == {}
    np.testing.assert_allclose(run(variables, X[1:2])[0], together[1:2], rtol=1e-4, atol=1e-5)


XNOR = [(".*", quantizers.xnor(), quantizers.xnor_input())]


def test_an_xnor_network_trains_privately():
    """With LayerNorm before the sign: nothing is refused, and it learns two clusters."""
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, 64).astype(np.int32)
    x = (rng.normal(size=(64, 6)) + 2 * y[:, None] - 1).astype(np.float32)
    net = models.create("mlp", 2, order="xnor", normalize="layer", hidden=(8,))
    run = privacy.private_training(
        models.quantized(net, XNOR, float_layers=()), losses.cross_entropy(), clippings.flat(1.0), n=64, batch_size=32,
        epochs=15, delta=1e-3, noise_multiplier=0.0,
    )  # fmt: skip
    settings = dict(optimizer=training.optimizer("adam", 0.05), init=drawn(net, x), seed=0, **run.options)
    trained = training.fit(run.model, Examples(x, y, np.arange(64)), **settings)
    assert trained.metrics["accuracy"][-1] > 0.9 and trained.loss[-1] < 0.6 * trained.loss[0]


@pytest.mark.parametrize("name", sorted(SMALL))
@pytest.mark.parametrize("order", ORDERS)
def test_private_gradients_take_what_has_no_batch_statistics(name, order):
    batch = Batch(X, np.zeros(3, np.int32), np.ones(3, np.float32))
    for kind in ("group", "layer", "batch", *([] if order == "post" else [False])):
        model = models.create(name, 3, order=order, normalize=kind, **SMALL[name])
        model = models.quantized(model, XNOR)
        variables = jax.eval_shape(model.init, jax.random.key(0), X)
        loss = privacy.example_loss(model, losses.cross_entropy())
        private = privacy.private_gradients(loss, clippings.flat(1.0), 1.0, 3)
        if kind in ("group", "layer"):
            actual, _ = jax.eval_shape(private, variables, batch, jax.random.key(0))
            assert jax.tree.map(jnp.shape, actual) == jax.tree.map(jnp.shape, variables["params"])
        else:
            with pytest.raises(ValueError, match=r'over the batch.*normalize="group"\), or models.without_batch_norm'):
                jax.eval_shape(private, variables, batch, jax.random.key(0))


@pytest.mark.parametrize("wrong, said", [("grup", "normalize='grup' is not known. Did you mean 'group'?"), (2, "=2")])
def test_another_kind_is_refused(wrong, said):
    with pytest.raises(ValueError, match=r"normalize=.* is not known.*Known: batch, group, layer") as error:
        models.create("mlp", 3, normalize=wrong)
    assert said in str(error.value)
