"""Costs against closed forms, hand-computed nets, and an independent count over the program."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import costs, models, quantizers
from gecko_jax.costs.energy import mac_energy, read_energy
from gecko_jax.costs.memory import activations
from gecko_jax.programs import Lifetime, peak_bytes
from gecko_jax.types import Estimate

FASHION = np.zeros((2, 28, 28, 1), np.float32)
XNOR = [(".*", quantizers.xnor(), quantizers.xnor_input())]


def macs_of_program(function, *args):
    """Products in the jaxpr: for each, the size of the output times what is summed over (no groups, no transposes)."""

    def walk(jaxpr):
        total = 0
        for eqn in jaxpr.eqns:
            shapes = [v.aval.shape for v in eqn.invars]
            if eqn.primitive.name == "dot_general":
                (summed, _), _ = eqn.params["dimension_numbers"]
                total += math.prod(eqn.outvars[0].aval.shape) * math.prod(shapes[0][i] for i in summed)
            elif eqn.primitive.name == "conv_general_dilated":
                spec = eqn.params["dimension_numbers"].rhs_spec
                total += math.prod(eqn.outvars[0].aval.shape) * math.prod(shapes[1]) // shapes[1][spec[0]]
            for value in eqn.params.values():
                inner = getattr(value, "jaxpr", value)
                total += walk(inner) if hasattr(inner, "eqns") else 0
        return total

    return walk(jax.make_jaxpr(function)(*args).jaxpr)


def shapes_of(model, x):
    return jax.eval_shape(model.init, jax.random.key(0), x)


def test_architecture_1_closed_form(filled):
    model = models.create("lenet", 10)
    cost = costs.cost(model, filled(model, FASHION), FASHION)
    assert {bits: e.value for bits, e in cost.parameters.items()} == {32: 1_199_882}
    expected = [26 * 26 * 32 * 9, 24 * 24 * 64 * 9 * 32, 12 * 12 * 64 * 128, 128 * 10]
    assert [layer.macs for layer in cost.layers] == expected
    assert cost.macs == {(32, 32): Estimate(sum(expected), kind="counted")}
    assert cost.bops.value == 1024 * sum(expected)
    # The second convolution's input and output are alive together.
    assert cost.peak_activation_bytes.value == 4 * (26 * 26 * 32 + 24 * 24 * 64)
    assert cost.stored_bytes.value == cost.stored.total >= 4 * 1_199_882


def test_architecture_2_closed_form(filled):
    model = models.create("mlp", 10)
    cost = costs.cost(model, filled(model, FASHION), FASHION)
    assert cost.parameters[32].value == 932_362
    assert cost.macs[32, 32].value == 784 * 512 + 2 * 512 * 512 + 512 * 10
    assert cost.peak_activation_bytes.value == 4 * (784 + 512)


def test_binary_architecture_1_by_hand(filled):
    model = models.quantized(models.create("lenet", 10, order="xnor"), XNOR)
    cost = costs.cost(model, filled(model, FASHION), FASHION)
    binary_weights = 9 * 32 * 64 + 12 * 12 * 64 * 128
    assert cost.parameters[1].value == binary_weights == cost.stored.code_bits
    binary_macs = 24 * 24 * 64 * 9 * 32 + 12 * 12 * 64 * 128
    float_macs = 26 * 26 * 32 * 9 + 1280
    assert {k: e.value for k, e in cost.macs.items()} == {(32, 32): float_macs, (1, 1): binary_macs}
    assert cost.bops.value == binary_macs + 1024 * float_macs
    # Signs of 26x26x32 values, one bit each, beside the second convolution's float output.
    assert cost.peak_activation_bytes.value == 26 * 26 * 32 // 8 + 4 * 24 * 24 * 64
    assert {layer.path.split("/")[-1]: (layer.weight_bits, layer.input_bits) for layer in cost.layers} == {
        "conv1": (32, 32),
        "conv2": (1, 1),
        "dense": (1, 1),
        "logits": (32, 32),
    }
    assert sum(e.value for e in cost.bytes_by_precision.values()) == cost.stored.payload
    assert cost.bytes_by_precision[1].value == binary_weights // 8 + 4 * (64 + 128)
    compute = binary_macs * 0.0075e-12 + float_macs * 4.6e-12
    assert cost.compute_energy.value == pytest.approx(compute)
    assert cost.memory_energy.value == pytest.approx(cost.deployed.total * 160e-12)
    assert cost.energy.value == pytest.approx(compute + cost.deployed.total * 160e-12)
    kinds = {f.kind for f in (cost.energy, cost.compute_energy, cost.memory_energy)}
    assert kinds == {"modeled"} and cost.energy.unit == "J" and cost.bops.kind == "counted"


class Zoo(nn.Module):
    """Grouped, strided, dilated, padded convolutions, a dense layer over positions and a layer called twice."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(8, (3, 3), strides=2)(x))
        x = nn.Conv(8, (3, 3), feature_group_count=8, padding="SAME")(x)
        x = nn.Conv(6, (3, 2), kernel_dilation=(2, 1), padding="VALID", feature_group_count=2)(x)
        twice = nn.Dense(6)
        x = nn.swish(twice(nn.relu(twice(x))))
        x = nn.DenseGeneral((3, 4))(x)
        x = nn.DenseGeneral(5, axis=(-2, -1))(x)
        return nn.Dense(3)(x.mean((1, 2)))


@pytest.mark.parametrize("name", ["zoo", "lenet", "mlp", "lenet_xnor"])
def test_macs_equal_those_of_the_program(name, filled):
    x = np.zeros((1, 13, 11, 4), np.float32)
    model = models.from_linen(Zoo()) if name == "zoo" else models.create(name.split("_")[0], 10)
    if name == "lenet_xnor":
        model = models.quantized(model, XNOR)
    variables = filled(model, x)
    layers = costs.cost(model, variables, x).layers
    assert sum(layer.macs for layer in layers) == macs_of_program(lambda v: model.apply(v, x)[0], variables)


def only_layer(module, x, rules, filled):
    model = models.quantized(models.from_linen(module), rules, ()) if rules else models.from_linen(module)
    [layer] = costs.cost(model, filled(model, x), x).layers
    return layer


def test_transposed_convolution_and_lookup(filled):
    transposed = only_layer(nn.ConvTranspose(5, (2, 2), strides=(2, 2)), np.zeros((1, 4, 4, 3), np.float32), (), filled)
    assert transposed.macs == 16 * 2 * 2 * 3 * 5
    assert only_layer(nn.Embed(100, 16), np.zeros((1, 7), np.int32), (), filled).macs == 0


def test_depthwise_and_binary_bops(filled):
    rules = [("", quantizers.uniform(4), quantizers.uniform(8, max_abs=1.0))]
    layer = only_layer(nn.Conv(16, (3, 3), feature_group_count=16), np.zeros((1, 8, 8, 16), np.float32), rules, filled)
    assert (layer.macs, layer.bops) == (8 * 8 * 16 * 9, 8 * 8 * 16 * 9 * 32)


def test_peak_of_hand_made_lives():
    assert peak_bytes([]) == 0
    assert peak_bytes([Lifetime(10, 0, 0), Lifetime(6, 1, 3), Lifetime(5, 2, 3), Lifetime(1, 3, 3)]) == 12


class Residual(nn.Module):
    """Two branches from one tensor: x -> a -> b, and x again, then a sum."""

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(100)(x))
        a = nn.relu(nn.BatchNorm(use_running_average=True)(nn.Dense(30)(x)))
        b = nn.Dense(100)(a)
        return nn.Dense(2)(nn.relu(x + b))


class Branches(nn.Module):
    """Two branches that are concatenated: while the second is computed, the first is kept."""

    @nn.compact
    def __call__(self, x):
        left = nn.swish(nn.Dense(50)(x))
        right = nn.gelu(nn.Dense(20)(x.reshape(x.shape[0], -1)))
        return nn.Dense(2)(jnp.concatenate([left, right], -1))


class Pooled(nn.Module):
    """A pool ends a tensor's life; a sign before it does not make its input smaller."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), padding="SAME")(x)
        return nn.Dense(2)(nn.max_pool(x, (2, 2), (2, 2)).reshape(x.shape[0], -1))


@pytest.mark.parametrize(
    "module, shape, expected",
    [
        # x stays alive over a: with input 10, tensors 10 -> x 100 -> a 30 -> (x + b) 100 -> 2
        (Residual(), (10,), [10 + 100, 100 + 30, 100 + 30 + 100, 100 + 2]),
        # input 10 -> left 50 -> right 20, concatenated 70 -> 2
        (Branches(), (10,), [10 + 50, 10 + 50 + 20, 50 + 20 + 70, 70 + 2]),
        (Pooled(), (8, 8, 3), [192 + 256, 256 + 64, 64 + 2]),
    ],
)
def test_activation_peak_by_hand(module, shape, expected):
    model, x = models.from_linen(module), np.zeros((3, *shape), np.float32)
    lives = activations(model, shapes_of(model, x), x)
    assert peak_bytes(lives) == 4 * max(expected)
    per_step = [sum(t.bytes for t in lives if t.written <= s <= t.read) for s in range(1, len(expected) + 1)]
    assert per_step == [4 * e for e in expected]


def test_a_tensor_read_as_bits_and_as_floats_is_kept_in_both():
    """In a residual net of +-1, the shortcut needs the float x beside the signs that the next layer reads."""
    model = models.quantized(models.from_linen(Residual()), [("Dense_1", quantizers.xnor(), quantizers.xnor_input())])
    x = np.zeros((1, 10), np.float32)
    lives = activations(model, shapes_of(model, x), x)
    assert sorted(t.bytes for t in lives if t.written == 1) == [13, 400]  # 100 bits fill 12.5 bytes
    assert peak_bytes(lives) == 4 * (100 + 30 + 100)


def test_energy_table():
    assert mac_energy(32, 32) == pytest.approx(4.6e-12)
    assert mac_energy(8, 8) == pytest.approx(0.3e-12)
    assert mac_energy(1, 1) == pytest.approx(0.0075e-12)
    assert mac_energy(1, 32) == mac_energy(32, 2) == pytest.approx(0.9e-12)
    assert read_energy(8, "sram_8kB") == pytest.approx(10e-12)
    with pytest.raises(ValueError, match="Did you mean 'dram'"):
        read_energy(8, "drum")
    pairs = [mac_energy(k, k) for k in (1, 2, 4, 8, 32)]
    assert pairs == sorted(pairs)


def test_table_and_bad_input(filled):
    model = models.quantized(models.create("mlp", 3, hidden=(8, 8)), XNOR)
    x = np.zeros((1, 6), np.float32)
    table = costs.cost(model, filled(model, x), x, memory="sram_32kB").table()
    assert "dense2" in table and "1 x 1" in table and "sram_32kB" in table and "modeled" in table
    assert max(map(len, table.splitlines())) <= 120
    with pytest.raises(ValueError, match="x is empty"):
        costs.cost(model, filled(model, x), x[:0])


def test_inputs_and_outputs_are_any_pytrees(filled):
    class Two(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = nn.Embed(5, 3, name="embed")(x["tokens"]).mean(1) + nn.Dense(3, name="dense")(x["numbers"])
            return {"classes": nn.Dense(2, name="classes")(h), "number": nn.Dense(1, name="number")(h)[:, 0]}

    x = {"tokens": np.zeros((2, 4), np.int32), "numbers": np.zeros((2, 6), np.float32)}
    rules = [("dense", quantizers.uniform(4), quantizers.uniform(3, max_abs=1.0)), ("embed", quantizers.binary())]
    model = models.quantized(models.from_linen(Two()), rules, ())
    cost = costs.cost(model, filled(model, x), x)
    layers = {layer.path: (layer.macs, layer.weight_bits, layer.input_bits) for layer in cost.layers}
    assert layers == {"embed": (0, 1, 32), "dense": (18, 4, 3), "classes": (6, 32, 32), "number": (3, 32, 32)}
    assert cost.macs == {(32, 32): Estimate(9, kind="counted"), (4, 3): Estimate(18, kind="counted"),
                         (1, 32): Estimate(0, kind="counted")}  # fmt: skip
    with pytest.raises(ValueError, match=r"x\['tokens'\] has 2 rows, x\['numbers'\] has 1"):
        costs.cost(model, filled(model, x), {**x, "numbers": x["numbers"][:1]})
