"""One convention for batch normalization, the deployed one: bytes and energy fold it as activation memory does."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import costs, models, quantizers
from gecko_jax.costs.energy import read_energy

RULE = quantizers.xnor(), quantizers.xnor_input()


class Net(nn.Module):
    """dense -> activation -> BatchNorm -> dense -> ... with what lies between to be chosen."""

    between: str = "relu"
    norm: str = "batch"

    @nn.compact
    def __call__(self, x):
        def norm(x, name):
            if self.norm == "layer":
                return nn.LayerNorm(name=name)(x)
            return nn.BatchNorm(use_running_average=True, name=name)(x)

        x = norm(nn.relu(nn.Dense(12, name="enter")(x)), "norm1")
        x = nn.Dense(10, name="first")(x)
        x = {"relu": nn.relu, "square": jnp.square}[self.between](x)
        x = norm(x, "norm2")
        return nn.Dense(3, name="leave")(nn.Dense(7, name="second")(x))


def normalization(module, rules, filled):
    x, model = np.zeros((1, 6), np.float32), models.from_linen(module)
    model = models.quantized(model, rules) if rules else model
    cost = costs.cost(model, filled(model, x), x)
    assert cost.deployed_bytes.value == sum(cost.deployed) == cost.deployed.total
    assert cost.memory_energy.value == pytest.approx(read_energy(cost.deployed.total))
    four_arrays = 4 * 4 * (12 + 10) if module.norm == "batch" else 0
    assert cost.stored.payload - cost.deployed.total == four_arrays - cost.deployed.normalization
    assert f"deployed, normalization folded (counted): {cost.deployed.total:,} B" in cost.table()
    return cost.deployed.normalization


def test_in_front_of_a_float_layer_two_numbers_a_channel(filled):
    assert normalization(Net(), None, filled) == 2 * 4 * (12 + 10)


def test_in_front_of_signs_a_threshold(filled):
    """norm1 reads floats: 12 numbers and 12 directions (in 4 bytes); norm2 reads sums of signs: 10 in 16 bits."""
    assert normalization(Net(), [("first|second", *RULE)], filled) == (4 * 12 + 4) + 2 * 10


def test_what_rises_and_falls_keeps_its_float(filled):
    """A square lies between the integer sums and norm2: its threshold is compared with a float."""
    assert normalization(Net("square"), [("first|second", *RULE)], filled) == (4 * 12 + 4) + (4 * 10 + 4)


def test_with_an_input_of_more_bits_it_stays_affine(filled):
    rules = [("first|second", quantizers.xnor(), quantizers.uniform(4, max_abs=1.0))]
    assert normalization(Net(), rules, filled) == 2 * 4 * (12 + 10)


def test_a_scaled_input_reads_more_than_signs(filled):
    rules = [("first|second", quantizers.xnor(), quantizers.xnor_input(scaling=True))]
    assert normalization(Net(), rules, filled) == 2 * 4 * (12 + 10)


def test_a_normalization_over_an_example_is_counted_as_stored(filled):
    assert normalization(Net(norm="layer"), [("first|second", *RULE)], filled) == 0


def test_the_xnor_lenet_by_hand(filled):
    """16 bytes a feature in the file; 2 in front of the dense layer: 36,864 bytes become 4,608."""
    model = models.quantized(models.create("lenet", 10, channels=(8, 16), hidden=16, order="xnor"), [(".*", *RULE)])
    x = np.zeros((1, 28, 28, 1), np.float32)
    cost, features = costs.cost(model, filled(model, x), x), 12 * 12 * 16
    assert 16 * features == 36_864
    assert cost.deployed.normalization == 2 * features + (4 * 8 + 4) + 2 * 4 * 16
    assert cost.stored.payload - cost.deployed.total == 16 * (features + 8 + 16) - cost.deployed.normalization


def test_a_threshold_of_16_bits_is_all_that_normalization_does():
    """sign(norm(relu(alpha sum + bias))) is one comparison of the integer sum, by trying every sum there is."""
    rng, terms = np.random.default_rng(0), 90
    sums = np.arange(-terms, terms + 1, 2)
    for _ in range(300):
        alpha, (bias, mean, scale, shift), variance = rng.uniform(0, 0.1), rng.normal(size=4), rng.uniform(0.1, 3)
        signs = (np.maximum(alpha * sums + bias, 0) - mean) / np.sqrt(variance + 1e-5) * scale + shift >= 0
        assert np.count_nonzero(np.diff(signs)) <= 1
    assert terms < 2**14  # and with the direction in the 16th bit


def test_a_normalization_within_a_loop_is_counted_as_stored(filled):
    class Body(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return nn.BatchNorm(use_running_average=True)(nn.Dense(6)(x)), None

    class Loop(nn.Module):
        @nn.compact
        def __call__(self, x):
            axes = {"params": 0, "batch_stats": 0}
            return nn.scan(Body, variable_axes=axes, split_rngs={"params": True}, length=4)()(x, None)[0]

    x, model = np.zeros((1, 6), np.float32), models.from_linen(Loop())
    cost = costs.cost(model, filled(model, x), x)
    assert cost.deployed.normalization == 0 and cost.deployed.total == cost.stored.payload
