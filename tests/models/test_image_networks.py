"""The networks for 32 x 32 images: counts of their papers, and each forward pass against NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from network_by_hand import ByHand

from gecko_jax import models, quantizers
from gecko_jax.models.pooling import average_pool, max_pool
from gecko_jax.types import Rule

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 8, 8, 3)).astype(np.float32)
SMALL = {
    "densenet40": dict(layers=(1, 2), growth=2, bottleneck=True, compression=0.5),
    "mobilenet_v2": dict(stem=12, stages=((1, 6, 1, 1), (2, 8, 2, 2)), last=5),
    "nin": dict(channels=(2, 3, 2, 3, 2, 3, 2, 3)),
    "resnet20": dict(blocks=(1, 1), channels=(2, 3)),
    "squeezenet": dict(stem=3, fires=((2, 2), (2, 3))),
    "vgg16": dict(channels=((2, 3), (3,)), hidden=(4,), stride=2),
}
NORMALIZED, LARGE = dict(normalize=True), dict(hidden=(4096, 4096))
# Published: the number that a paper or the network's best-known implementation states, for the same layers.
COUNTS = [
    ("vgg11", LARGE, 1000, 224, 132_863_336),  # torchvision, as the next three
    ("vgg13", LARGE, 1000, 224, 133_047_848),
    ("vgg16", LARGE, 1000, 224, 138_357_544),
    ("vgg19", LARGE, 1000, 224, 143_667_240),
    ("vgg16", NORMALIZED, 10, 32, 14_728_266),  # Gecko's notebooks: 58.9 MB of floats
    ("alexnet32", {}, 10, 32, 23_272_266),  # Gecko's notebooks: 93 MB of floats
    ("nin", {}, 10, 32, 966_986),  # Gecko's notebooks: 3.87 MB of floats
    ("squeezenet", {}, 1000, 32, 1_235_496),  # torchvision's version 1.1
    ("mobilenet_v2", {}, 1000, 32, 3_504_872),  # torchvision
    ("resnet20", {}, 10, 32, 269_722),  # the paper's 0.27 million, with the shortcut without weights
    ("densenet40", {}, 10, 32, 1_019_722),  # the paper's 1.0 million
]


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(("name", "options", "classes", "side", "published"), COUNTS)
def test_parameters_are_as_many_as_published(name, options, classes, side, published):
    model = models.create(name, classes, **options)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32))
    assert count(shapes["params"]) == published


def pooled(function, *window):
    return lambda h: np.asarray(function(jnp.asarray(h, jnp.float32), *window), np.float64)


def linear(h):
    return h


def vgg16(net, h):
    h = net.block(h, "conv1", "block1", first=True, stride=2)
    h = net.block(h, "conv2", "block2", pooled(max_pool, 2))
    h = net.block(h, "conv3", "block3", pooled(max_pool, 2))
    h = net.block(h.reshape(len(h), -1), "dense1", "block4")
    return net.layer(net.end(h), "logits")


def nin(net, h):
    pools = {3: pooled(max_pool, 3, 2, 1), 6: pooled(average_pool, 3, 2, 1)}
    for i in range(1, 9):
        h = net.block(h, f"conv{i}", f"block{i}", pools.get(i, linear), first=i == 1)
    return net.layer(net.end(h), "logits").mean((1, 2))


def squeezenet(net, h):
    h = net.block(h, "stem", "block1", pooled(max_pool, 2), first=True)
    for i in (1, 2):
        h = net.block(h, f"fire{i}/squeeze", f"fire{i}/squeezed")
        branches = [net.block(h, f"fire{i}/expand{side}", f"fire{i}/expanded{side}") for side in (1, 3)]
        h = np.concatenate(branches, -1)
    return net.layer(net.end(pooled(max_pool, 2)(h)), "logits").mean((1, 2))


def mobilenet_v2(net, h):
    h = net.block(h, "stem", "block1", first=True)
    for number, (expansion, stride) in enumerate([(1, 1), (2, 2), (2, 1)], start=2):
        at, x = f"residual{number}", h
        if expansion > 1:
            h = net.block(h, f"{at}/expand", f"{at}/expanded")
        h = net.block(h, f"{at}/depthwise", f"{at}/convolved", stride=stride, groups=h.shape[-1])
        h = net.block(h, f"{at}/project", f"{at}/projected", act=linear)
        h = h + x if number == 4 else h
    h = net.block(h, "last", "block5")
    return net.layer(net.end(h.mean((1, 2))), "logits")


def resnet20(net, h):
    h = net.block(h, "stem", "block1", first=True)
    for stage, stride in ((1, 1), (2, 2)):
        at = f"stage{stage}_residual1"
        y = net.block(h, f"{at}/conv1", f"{at}/block1", stride=stride)
        y = net.block(y, f"{at}/conv2", f"{at}/block2", act=linear)
        y[..., : h.shape[-1]] += h[:, ::stride, ::stride]
        h = np.maximum(y, 0) if net.order == "post" else y
    return net.layer(net.end(h.mean((1, 2))), "logits")


def densenet40(net, h):
    def ready(h, path, at):
        if net.order == "xnor":
            return net.block(h, path, f"{at}/Block_0")
        return net.layer(np.maximum(net.norm(h, f"{at}/BatchNorm_0"), 0), path)

    h = net.layer(h, "stem") if net.order == "post" else net.block(h, "stem", "block1", first=True)
    for stage, layers in ((1, 1), (2, 2)):
        if stage == 2:
            h = pooled(average_pool, 2)(ready(h, "between2", "transition2"))
        for i in range(1, layers + 1):
            at = f"stage{stage}_layer{i}"
            y = ready(h, f"{at}/narrow", f"{at}/narrowed")
            h = np.concatenate([h, ready(y, f"{at}/conv", f"{at}/grown")], -1)
    if net.order == "post":
        h = np.maximum(net.norm(h, "activated/BatchNorm_0"), 0)
    return net.layer(net.end(h.mean((1, 2))), "logits")


FORWARD = {f.__name__: f for f in (vgg16, nin, squeezenet, mobilenet_v2, resnet20, densenet40)}


def test_every_listed_network_is_tested_in_some_size():
    tested = tuple(models.CLASSIFIERS[name] for name in SMALL)
    elsewhere = {
        "alexnet",
        "lenet",
        "mlp",
        "ds_cnn",
        "mobilenet_v1",
        "resnet8",
    }  # in test_architectures, test_tiny_networks
    rest = set(models.CLASSIFIERS) - elsewhere
    assert all(issubclass(models.CLASSIFIERS[name], tested) for name in rest)


@pytest.mark.parametrize("order", ["post", "xnor"])
@pytest.mark.parametrize("name", sorted(SMALL))
def test_the_forward_pass_is_numpy_s_and_reads_every_variable(name, order, filled):
    model = models.create(name, 3, order=order, normalize=True, **SMALL[name])
    variables = filled(model, X)
    by_hand = ByHand(variables, order)
    expected = FORWARD[name](by_hand, X.astype(np.float64))
    actual = jax.jit(model.apply)(variables, X)[0]
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    assert by_hand.read == set(traverse_util.flatten_dict(variables))


@pytest.mark.parametrize("name", sorted(SMALL))
@pytest.mark.parametrize(
    ("options", "collections"),
    [({"normalize": "group"}, {"params"}), ({"normalize": False, "activation": "quadratic"}, {"params", "transition"})],
)
def test_private_and_polynomial_forms_have_no_batch_statistics(name, options, collections):
    model = models.create(name, 3, **options, **SMALL[name])
    assert set(jax.eval_shape(model.init, jax.random.key(0), X)) == collections


def test_a_rule_reaches_every_layer_between_the_first_and_the_last(filled):
    """Convolutions of each channel by itself included, with inputs of +-1."""
    model = models.create("mobilenet_v2", 3, order="xnor", **SMALL["mobilenet_v2"])
    binary = models.quantized(model, [Rule(path="", weight=quantizers.xnor(), input=quantizers.xnor_input())])
    calls = models.trace(binary, filled(binary, X), X)
    assert [call.path for call in calls if call.weight is None] == ["stem", "logits"]
    assert sum("depthwise" in call.path for call in calls) == 3


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vgg16", dict(channels=(64, 64)), "channels=64 must be a list: filters of the convolutions of each stage"),
        ("vgg16", dict(channels=((64,), ())), "channels is empty"),
        ("vgg16", dict(channels=((64, 0),)), r"channels=\(64, 0\) must hold integers of at least 1, not 0"),
        ("nin", dict(channels=(2, 3)), r"channels=\(2, 3\) has 2 entries; expected 8"),
        ("mobilenet_v2", dict(stages=((1, 16, 1),)), r"stages=\(1, 16, 1\) has 3 entries; expected 4"),
        ("squeezenet", dict(fires=((16,),)), r"fires=\(16,\) has 1 entries; expected 2"),
        ("resnet20", dict(width=0), "width=0 must be"),
        ("resnet20", dict(pooling="max"), "option of 'resnet20'='pooling' is not known"),
        ("resnet20", dict(channels=(), blocks=()), "blocks is empty"),
        ("densenet40", dict(compression=1.5), "compression=1.5"),
        ("vgg11", dict(hidden=128), "hidden=128 must be a list"),
    ],
)
def test_a_bad_option_is_refused_before_anything_is_built(name, options, message):
    with pytest.raises(ValueError, match=message):
        models.create(name, 10, **options)


@pytest.mark.parametrize(
    ("name", "options", "x", "message"),
    [
        ("vgg11", {}, X, r"x has shape \(2, 8, 8, 3\); VGG11 takes images \[batch, height >= 32, width >= 32"),
        ("alexnet32", {}, X, "height >= 15"),
        ("nin", {}, X[0], r"x has shape \(8, 8, 3\); NiN"),
        ("resnet20", dict(blocks=(1,)), X, r"blocks=\(1,\) and channels=\(16, 32, 64\) must name the same number"),
    ],
)
def test_images_that_are_too_small_are_refused(name, options, x, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(models.create(name, 10, **options).init, jax.random.key(0), x)


def test_width_multiplies_the_filters():
    def filters(name, width):
        model = models.create(name, 10, width=width)
        shapes = jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32))
        return {path[-2]: leaf.shape[-1] for path, leaf in traverse_util.flatten_dict(shapes["params"]).items()
                if path[-1] == "kernel" and path[-2].startswith(("conv", "dense"))}  # fmt: skip

    assert list(filters("vgg11", 0.125).values()) == [8, 16, 32, 32, 64, 64, 64, 64]
    assert filters("nin", 0.001)["conv1"] == 1
    assert filters("alexnet32", 0.25)["dense2"] == 1024
