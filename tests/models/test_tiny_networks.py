"""The networks of MLPerf Tiny: published counts, forward passes in NumPy, and what every listed model can do."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import traverse_util
from network_by_hand import ByHand

from gecko_jax import audit, clippings, costs, losses, models, privacy, quantizers, training
from gecko_jax.integer import as_tflm, check_arena, plan_arena, tflm_greedy
from gecko_jax.types import Batch, Examples, Rule

# name -> (options, outputs, shape of an input, published parameters, those without BatchNorm's statistics, MACs, bytes
# that are alive at once at int8, head of TFLM's arena): parameters as Keras counts those of the benchmark's public code
# layer by layer ("Total params", "Trainable params"); the others of the reference files for microcontrollers.
PUBLISHED = {
    "ds_cnn": ({}, 12, (49, 10, 1), 24_908, 23_756, 2_656_768, 16_000, 16_000),
    "resnet8": ({}, 10, (32, 32, 3), 78_666, 78_186, 12_501_632, 49_152, 49_152),
    "mobilenet_v1": ({"width": 0.25}, 2, (96, 96, 3), 221_794, 216_322, 7_489_664, 55_296, 73_728),
    "fc_autoencoder": ({}, 640, (640,), 269_992, 267_928, 264_192, 768, 768),
}
X = np.random.default_rng(0).normal(size=(2, 8, 7, 2)).astype(np.float32)
SMALL = {
    "ds_cnn": dict(channels=(3, 2, 4), window=(5, 4)),
    "mobilenet_v1": dict(stem=3, stages=((2, 1), (4, 2))),
    "resnet8": dict(channels=(2, 3)),
    "fc_autoencoder": dict(hidden=(4, 2, 4)),
}
OUTPUTS = {"fc_autoencoder": 112}  # 3 of the others
KEY = jax.random.key(0, impl="rbg")


def create(name, **options):
    return models.create(name, OUTPUTS.get(name, 3), **SMALL[name], **options)


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_as_published(name):
    options, outputs, shape, total, parameters, macs, alive, tflm = PUBLISHED[name]
    model, x = models.create(name, outputs, **options), np.zeros((1, *shape), np.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    assert (count(variables), count(variables["params"])) == (total, parameters)
    forward = costs.program.forward_pass(model, variables, x)
    assert sum(product.macs for products in forward.products for product in products) == macs
    int8 = as_tflm([t._replace(bytes=t.bytes // 4) for t in costs.memory.activations(model, variables, x)])
    plan = plan_arena(int8)
    assert (plan.bytes, plan.bound, plan.optimal) == (alive, alive, True)
    assert check_arena(int8, tflm_greedy(int8)) == tflm


def separable(net, h):
    h = net.block(h, "stem", "block1", first=True, stride=2)
    for number in (2, 3):
        stride, at = 2 if "mobilenet" in net.name and number == 3 else 1, f"separable{number}"
        h = net.block(h, f"{at}/depthwise", f"{at}/convolved", stride=stride, groups=h.shape[-1])
        h = net.block(h, f"{at}/pointwise", f"{at}/mixed")
    return net.layer(net.end(h.mean((1, 2))), "logits")


def resnet8(net, h):
    def linear(h):
        return h

    h = net.block(h, "stem", "block1", first=True)
    for stage, stride in ((1, 1), (2, 2)):
        at = f"stage{stage}"
        y = net.block(h, f"{at}/conv1", f"{at}/block1", stride=stride)
        y = net.block(y, f"{at}/conv2", f"{at}/block2", act=linear)
        if stage == 2 and net.order == "post":
            h = net.layer(h, f"{at}/shortcut", stride)
        elif stage == 2:
            h = net.block(h, f"{at}/shortcut", f"{at}/shortened", act=linear, stride=stride)
        h = np.maximum(h + y, 0) if net.order == "post" else h + y
    return net.layer(net.end(h.mean((1, 2))), "logits")


def fc_autoencoder(net, h):
    h = h.reshape(len(h), -1)
    for number in (1, 2, 3):
        h = net.block(h, f"dense{number}", f"block{number}", first=number == 1)
    return net.layer(net.end(h), "logits")


FORWARD = {"ds_cnn": separable, "mobilenet_v1": separable, "resnet8": resnet8, "fc_autoencoder": fc_autoencoder}


@pytest.mark.parametrize("order", ["post", "xnor"])
@pytest.mark.parametrize("name", SMALL)
def test_the_forward_pass_is_numpy_s_with_the_border_of_same(name, order, filled):
    model = create(name, order=order)
    variables = filled(model, X)
    by_hand = ByHand(variables, order, "same")
    by_hand.name = name
    expected = FORWARD[name](by_hand, X.astype(np.float64))
    actual = jax.jit(model.apply)(variables, X)[0]
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    assert by_hand.read == set(traverse_util.flatten_dict(variables))


def loss_of(name):
    return losses.squared_error() if name in OUTPUTS else losses.cross_entropy()


def batch_of(name):
    y = X.reshape(2, -1) if name in OUTPUTS else np.array([0, 1])
    return Batch(jnp.asarray(X), jnp.asarray(y), jnp.ones(2))


@pytest.mark.parametrize("name", ["ds_cnn", "fc_autoencoder"])
def test_private_training_refuses_batch_norm_and_takes_the_way_out(name):
    def gradients(model):
        private = privacy.private_gradients(
            privacy.example_loss(model, loss_of(name)), clippings.flat(1.0), noise_multiplier=1.0, expected_batch_size=2
        )
        variables = jax.eval_shape(model.init, KEY, X)
        return variables["params"], jax.eval_shape(private, variables, batch_of(name), KEY)[0]

    published = create(name)
    with pytest.raises(ValueError, match=r'BatchNorm_0.* over the batch .*normalize="group"'):
        gradients(published)
    other = create(name, normalize="group") if name == "ds_cnn" else models.without_batch_norm(published)
    params, update = gradients(other)
    assert jax.tree.map(jnp.shape, update) == jax.tree.map(jnp.shape, params)


def test_clipped_sums_of_uneven_borders_are_those_of_one_gradient_after_another(filled):
    """Windows at a stride of 2 with a border at the end alone, of all channels and of each by itself."""
    model = models.create("mobilenet_v1", 3, stem=3, stages=((2, 2),), normalize=False)
    loss, variables = privacy.example_loss(model, losses.cross_entropy()), filled(model, X)
    sums = [privacy.clipped_sum(loss, clippings.flat(0.5), method=method) for method in ("bookkeeping", "vmap")]
    fast, plain = jax.jit(lambda v, b: [each(v, b, None) for each in sums])(variables, batch_of("mobilenet_v1"))
    np.testing.assert_allclose(fast[1], plain[1], rtol=1e-4)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-5), fast[0], plain[0])


@pytest.mark.parametrize("name", ["ds_cnn", "resnet8"])
def test_rules_reach_every_layer_between_the_first_and_the_last(name, filled):
    binary = models.quantized(create(name, order="xnor"), [Rule("", quantizers.xnor(), quantizers.xnor_input())])
    calls = models.trace(binary, filled(binary, X), X)
    assert [call.path for call in calls if call.weight is None] == [calls[0].path, "logits"]
    assert sum(call.weight is not None for call in calls) == {"ds_cnn": 4, "resnet8": 5}[name]


def test_an_autoencoder_is_trained_and_audited_by_its_squared_error():
    x = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)
    model = models.create("fc_autoencoder", 6, hidden=(16, 8), normalize="layer")
    data = Examples(x[:20], x[:20], np.arange(20))
    fitted = training.fit(
        model, data, loss=losses.squared_error(), optimizer=optax.adam(1e-2), epochs=60, batch_size=20, seed=0
    )
    outputs = np.asarray(jax.jit(model.apply)(fitted.variables, x)[0])
    report = audit.audit_model(outputs, x, np.arange(40) < 20, outputs="numbers")
    assert report.rows["loss"]["auc"].value > 0.9


def test_an_autoencoder_of_other_outputs_is_refused():
    model = models.create("fc_autoencoder", 10)
    with pytest.raises(
        ValueError, match=r"x has shape \(2, 8, 7, 2\), 112 numbers .* num_classes=10.*_autoencoder., 112"
    ):
        jax.eval_shape(model.init, KEY, X)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ds_cnn", dict(channels=64), "channels=64 must be a list: filters of the first convolution"),
        ("ds_cnn", dict(channels=()), "channels is empty"),
        ("ds_cnn", dict(window=(10,)), r"window=\(10,\) has 1 entries; expected 2"),
        ("mobilenet_v1", dict(stages=((64, 1, 1),)), r"stages=\(64, 1, 1\) has 3 entries; expected 2"),
        ("mobilenet_v1", dict(width=-1), "width=-1 must be"),
        ("resnet8", dict(channels=(0, 8)), r"channels=\(0, 8\) must hold integers of at least 1"),
        ("resnet8", dict(channels=()), "channels is empty"),
        ("fc_autoencoder", dict(hidden=(0,)), r"hidden=\(0,\) must hold"),
        ("fc_autoencoder", dict(width=0.5), "option of 'fc_autoencoder'='width' is not known"),
    ],
)
def test_a_bad_option_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        models.create(name, 10, **options)
