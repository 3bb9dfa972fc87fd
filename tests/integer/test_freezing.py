"""Frozen networks against NumPy's integers, against their own models, and against thresholds by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import naive_graph
import numpy as np
import pytest
from random_networks import random_network

from gecko_jax import integer, models, programs, quantizers
from gecko_jax.integer import nodes


@pytest.mark.parametrize("seed", [2, 3])
def test_a_random_network_runs_as_numpys_integers(seed):
    model, variables, x = random_network(seed)
    graph = integer.freeze(model, variables, x)
    codes = np.random.default_rng(seed).integers(-128, 128, (3, *graph.tensors[graph.input].shape), np.int8)
    codes = np.clip(codes, graph.tensors[graph.input].low, graph.tensors[graph.input].high)
    np.testing.assert_array_equal(jax.jit(graph.run)(codes), naive_graph.run(graph, codes))


class Residual(nn.Module):
    """A user's own module: a pre-activation block, a depthwise layer, two pools, a head."""

    @nn.compact
    def __call__(self, x, training: bool):
        x = nn.Conv(6, (3, 3), strides=(2, 1), name="stem")(x)
        y = nn.relu(nn.BatchNorm(use_running_average=not training)(x))
        y = nn.Conv(6, (3, 3), feature_group_count=6, use_bias=False)(y)
        y = nn.BatchNorm(use_running_average=not training)(y)
        x = nn.avg_pool(nn.relu6(x + y), (2, 2), (2, 2))
        return nn.Dense(3, name="head")(nn.max_pool(x, (2, 2)).mean((1, 2)))


@pytest.fixture(scope="module")
def residual():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 9, 8, 2)).astype(np.float32)
    model = models.from_linen(Residual())
    variables = jax.jit(model.init)(jax.random.key(1), x[:1])
    variables = jax.tree.map(lambda leaf: leaf + 0.1 * rng.random(leaf.shape).astype(np.float32), variables)
    return model, variables, x, integer.freeze(model, variables, x)


def test_a_users_module_is_near_its_float_model(residual):
    model, variables, x, graph = residual
    gap = graph.gap(model, variables, x)
    assert gap.mean < 1.5 and gap.largest < 6 and gap.agreement > 0.9 and gap.rows == 40
    assert "codes in the mean" in str(gap)
    # The same by hand: outputs as numbers, in units of the last code.
    distance = np.abs(graph.predict(x) - model.apply(variables, x)[0]) / graph.tensors[graph.output].scale
    assert gap.largest == pytest.approx(float(distance.max()), rel=1e-3)


def test_batch_norm_and_relu_leave_no_node_of_their_own(residual):
    kinds = [type(node).__name__ for node in residual[3].nodes]
    assert kinds == "Conv Depthwise Depthwise Add AveragePool MaxPool AveragePool Reshape Dense".split()
    first = residual[3].nodes[1]  # of its own, because two read the stem's result; it ends in the network's own ReLU
    assert (first.path, first.label) == ("", "a step of the network itself (Depthwise)")


def test_a_run_holds_integers_alone_and_may_be_mapped(residual):
    graph, x = residual[3], residual[2][:4]
    codes = graph.encode(x)
    traced = jax.make_jaxpr(jax.vmap(graph.run))(codes[:, None])
    types = {str(aval.dtype) for equation in programs.flatten(traced).steps for aval in equation.avals}
    assert types <= {"int8", "int32", "uint32", "bool"}
    np.testing.assert_array_equal(jax.jit(jax.vmap(graph.run))(codes[:, None])[:, 0], graph.run(x))
    np.testing.assert_array_equal(graph.decode(graph.run(codes)), graph.predict(x))


def test_codes_are_rounded_half_away_from_zero_and_clipped(residual):
    graph = residual[3]
    tensor = graph.tensors[graph.input]
    x = np.zeros((1, *tensor.shape), np.float32)
    x[0, 0, 0], x[0, 0, 1] = (0.5 * tensor.scale, -0.5 * tensor.scale), (1e9, -1e9)
    expected = [tensor.zero_point + 1, tensor.zero_point - 1, 127, -128]
    np.testing.assert_array_equal(graph.encode(x)[0, 0, :2].ravel(), expected)


def test_cost_counts_the_bytes_of_constants(residual):
    weights, biases = 3 * 3 * 2 * 6 + 6 + 3 * 3 * 6 + 6 * 3, 6 + 6 + 6 + 3
    cost = residual[3].cost()
    assert cost == (weights, 4 * biases, 5 * (biases + 3), 0)
    assert cost.total == sum(cost)


def test_multiply_accumulates_are_counted_by_precision(residual, binary):
    stem, depthwise, norm, head = 5 * 8 * 9 * 2 * 6, 5 * 8 * 9 * 6, 5 * 8 * 6, 6 * 3
    assert residual[3].macs() == {(8, 8): stem + depthwise + norm + head}
    assert binary[3].macs() == {(1, 1): 5 * 4 * 9 * 3 * 5 + 5 * 4 * 9 * 5 * 5 + 2 * 2 * 5 * 4}
    assert "Depthwise" in str(residual[3]) and len(repr(residual[3])) < 80


def test_lifetimes_say_when_a_buffer_is_read_last(residual):
    graph = residual[3]
    image = 5 * 8 * 6
    assert graph.lifetimes()[0][:3] == (9 * 8 * 2, 0, 0)  # bytes, written, read: the input
    assert graph.lifetimes()[1][:3] == (image, 0, 3)  # the stem's, which the sum reads
    assert [each.bytes for each in graph.lifetimes()] == [144, image, image, image, image, 2 * 4 * 6, 1 * 3 * 6, 6, 3]
    assert graph.lifetimes()[-2][:3] == (6, 6, 8)  # the reshaped mean shares its buffer


class Binary(nn.Module):
    """Signs, pools and BatchNorm, as BinaryNet has them."""

    @nn.compact
    def __call__(self, x):
        for i in range(2):
            x = nn.Conv(5, (3, 3), name=f"conv{i}", use_bias=bool(i))(x)
            x = nn.max_pool(x, (2, 2), (2, 2)) if i else x
            x = nn.BatchNorm(use_running_average=True, name=f"norm{i}")(x)
        return nn.Dense(4, name="head")(x.reshape(len(x), -1))


@pytest.fixture(scope="module")
def binary():
    rng = np.random.default_rng(0)
    x = rng.choice([-1.0, 1.0], (64, 5, 4, 3)).astype(np.float32)
    model = models.quantized(
        models.from_linen(Binary()), [(".*", quantizers.binary(), quantizers.binary())], float_layers=()
    )
    variables = jax.jit(model.init)(jax.random.key(1), x[:1])
    stats, params = variables["batch_stats"], variables["params"]
    for i in range(2):  # thresholds that are integers, so that sums lie on them; falling and constant channels
        name = f"norm{i}"
        stats = {**stats, name: {"mean": jnp.array([1.0, -2.0, 3.0, 0.0, 5.0]), "var": stats[name]["var"]}}
        scale = jnp.array([1.0, -1.5, 0.5, -2.0, 0.0])
        params = {**params, name: {"scale": scale, "bias": jnp.array([0.0, 0.0, 0.0, 0.0, -1.0])}}
    params = {**params, "conv1": {**params["conv1"], "bias": jnp.array([0.5, -1.0, 0.0, 0.25, 0.0])}}
    variables = {**variables, "params": params, "batch_stats": stats}
    return model, variables, x, integer.freeze(model, variables, x)


def test_a_binary_network_is_its_model_bit_for_bit(binary):
    model, variables, x, graph = binary
    kinds = [type(node).__name__ for node in graph.nodes]
    assert kinds == "Conv Conv MaxPool Threshold Reshape Dense".split()  # the Threshold is of falling channels
    assert all(graph.tensors[node.output].bits == 1 for node in graph.nodes[:-1])
    assert [node.weight_bits for node in graph.nodes if isinstance(node, nodes.Weighted)] == [1, 1, 1]
    # 40 sums of +-1: the output's codes are the model's own numbers, rounded once.
    expected = model.apply(variables, x)[0]
    assert np.max(np.abs(graph.predict(x) - expected)) <= 0.5001 * graph.tensors[graph.output].scale
    np.testing.assert_array_equal(graph.run(x[:8]), naive_graph.run(graph, graph.encode(x[:8])))


def test_thresholds_are_batch_norms_ceilings(binary):
    model, variables, x, graph = binary
    first = graph.nodes[0]
    signs = np.where(np.asarray(variables["params"]["conv0"]["kernel"]) >= 0, 1, -1)
    np.testing.assert_array_equal(first.weights, signs * np.array([1, -1, 1, -1, 1]))  # falling: opposite weights
    # x >= mean for a positive scale, -x >= -mean for a negative one; a scale of 0 leaves the bias, which is -1.
    np.testing.assert_array_equal(first.stage.values, [1, 2, 3, 0, 2**31 - 1])
    assert first.pad_code == 1
    # The pool comes before the norm: of a falling channel the bit is the opposite of max(sum) + bias > mean.
    b = np.asarray(variables["params"]["conv1"]["bias"])
    means = np.array([1.0, -2.0, 3.0, 0.0])
    rising, falling = np.ceil(means - b[:4]), np.floor(means - b[:4]) + 1
    np.testing.assert_array_equal(graph.nodes[1].stage.values, [*np.where([1, 0, 1, 0], rising, falling), 2**31 - 1])
    np.testing.assert_array_equal(graph.nodes[3].signs, [1, -1, 1, -1, 1])


def test_weights_and_inputs_keep_the_codes_of_their_quantizers():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 7)).astype(np.float32)
    rules = [("dense1", quantizers.ternary(), quantizers.uniform(8, 2.5)),
             (".*", quantizers.uniform(4), quantizers.uniform(4, 1.5))]  # fmt: skip
    model = models.quantized(models.create("mlp", 3, hidden=(6, 5)), rules, float_layers=())
    variables = model.init(jax.random.key(0), x[:1])
    graph = integer.freeze(model, variables, x)
    for node, (name, quantizer) in zip(graph.nodes, models.weight_quantizers(model, variables, x).items(), strict=True):
        codes = quantizer.codes((), variables["params"][name.partition("/")[0]]["kernel"])
        np.testing.assert_array_equal(node.weights, codes.values)
        assert node.weight_bits == codes.bits
        np.testing.assert_allclose(node.weight_scales, np.broadcast_to(codes.scale, node.weights.shape)[0], rtol=1e-6)
    read = [graph.tensors[node.inputs[0]] for node in graph.nodes]
    assert [(tensor.low, tensor.high, tensor.bits) for tensor in read] == [(-127, 127, 8), (0, 7, 3), (0, 7, 3)]
    np.testing.assert_allclose([tensor.scale for tensor in read], [2.5 / 127, 1.5 / 7, 1.5 / 7], rtol=1e-6)
    # The grid is the model's own: what is left is the rounding of the outputs, but for sums in the middle of two codes.
    distance = np.abs(graph.predict(x) - model.apply(variables, x)[0]) / graph.tensors[graph.output].scale
    assert np.mean(distance <= 0.51) > 0.97


def test_inputs_of_each_scheme_have_its_grid():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 7)).astype(np.float32)
    schemes = ["int4_input", "dorefa4_input", "lsq4_input", "lsq_plus4_input", "pact4"]
    rules = [(f"dense{i}", quantizers.uniform(4), quantizers.QUANTIZERS[name]()) for i, name in enumerate(schemes, 1)]
    model = models.create("mlp", 3, hidden=(6,) * 5)
    model = models.quantized(model, rules, float_layers=())
    variables = jax.jit(model.init)(jax.random.key(2), x)
    with pytest.raises(ValueError, match="layer 'dense1' .* was never calibrated"):
        integer.freeze(model, variables, x)
    variables = {**variables, **jax.jit(lambda v: model.apply(v, x, train=True)[1])(variables)}
    graph = integer.freeze(model, variables, x)
    assert [type(node).__name__ for node in graph.nodes] == ["Dense"] * 6
    assert [graph.tensors[node.inputs[0]].bits for node in graph.nodes] == [4, 4, 4, 4, 4, 8]
    gap = graph.gap(model, variables, x)
    assert gap.mean < 0.6 and gap.largest < 1.6  # the last layer's inputs and weights, and the rounding of the outputs


def test_a_sequence_is_an_image_of_width_one():
    class Heard(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Conv(5, (3,), strides=2)(x))
            x = nn.max_pool(nn.relu(nn.Dense(4)(x)), (2,), (2,))
            return nn.Dense(3)(x.mean(1))

    x = np.random.default_rng(0).normal(size=(32, 9, 2)).astype(np.float32)
    model = models.from_linen(Heard())
    variables = jax.jit(model.init)(jax.random.key(0), x)
    graph = integer.freeze(model, variables, x)
    kinds = [type(node).__name__ for node in graph.nodes]
    assert kinds == "Reshape Conv Conv MaxPool AveragePool Reshape Dense".split()
    gap = graph.gap(model, variables, x)
    assert gap.mean < 1 and gap.largest < 4
    np.testing.assert_array_equal(graph.run(x[:4]), naive_graph.run(graph, graph.encode(x[:4])))
