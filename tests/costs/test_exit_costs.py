"""The cost of each exit, counted by hand."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from gecko_jax import costs, models, quantizers
from gecko_jax.costs.energy import mac_energy, read_energy

X = np.ones((2, 5), np.float32)
NET = models.multi_exit(models.create("mlp", 3, hidden=(16, 8)), "block")
MACS = np.array([5 * 16 + 16 * 3, 5 * 16 + 16 * 3 + 16 * 8 + 8 * 3, 5 * 16 + 16 * 3 + 16 * 8 + 8 * 3 + 8 * 3])
BYTES = 4 * (MACS + np.array([16 + 3, 16 + 3 + 8 + 3, 16 + 3 + 8 + 3 + 3]))  # a weight a MAC, and biases


def test_an_exit_costs_what_lies_before_it(filled):
    variables = filled(NET, X)
    parts = costs.exit_costs(NET, variables, X, memory="sram_8kB")
    assert [part.path for part in parts] == ["block1", "block2", ""]
    assert [part.macs.value for part in parts] == MACS.tolist()
    assert [part.bops.value for part in parts] == (32 * 32 * MACS).tolist()
    assert [part.read_bytes.value for part in parts] == BYTES.tolist()
    expected = [
        macs * mac_energy(32, 32) + read_energy(size, "sram_8kB") for macs, size in zip(MACS, BYTES, strict=True)
    ]
    np.testing.assert_allclose([part.energy.value for part in parts], expected)
    of_all = costs.cost(NET, variables, X, memory="sram_8kB")
    assert of_all.bops.value == parts[-1].bops.value and of_all.deployed_bytes.value == parts[-1].read_bytes.value
    assert of_all.peak_activation_bytes == parts[-1].peak_activation_bytes
    exits = np.array([0, 0, 1, 2])
    mean = costs.mean_cost(parts, exits)
    assert (mean.macs.value, mean.macs.n) == (MACS[exits].mean(), 4)
    np.testing.assert_allclose(mean.energy.value, np.mean([parts[i].energy.value for i in exits]))


def test_binary_weights_count_as_bits(filled):
    model = models.quantized(NET, [("dense2", quantizers.binary(), None)])
    first, second, _ = costs.exit_costs(model, filled(model, X), X)
    assert first.read_bytes.value == BYTES[0] and second.macs.value == MACS[1]
    # 128 codes of one bit and a scale, if any, in the place of 128 floats
    assert second.bops.value - first.bops.value == 32 * (128 + 32 * 24)
    assert second.read_bytes.value - first.read_bytes.value < BYTES[1] - BYTES[0] - 4 * 128 + 24


@pytest.mark.parametrize("exits", [[], [3], [-1], [0.5]])
def test_other_numbers_are_refused(exits):
    part = costs.PartCost("", *[jax.tree.map(float, models.Answers(1, 1))] * 5)
    with pytest.raises(ValueError, match="exits"):
        costs.mean_cost((part,) * 3, np.array(exits))


def test_no_rows_are_refused():
    variables = jax.eval_shape(NET.init, jax.random.key(0), X)
    for count in (costs.exit_costs, costs.part_cost):
        with pytest.raises(ValueError, match=r"len\(x\)=0 must be at least 1"):
            count(NET, variables, X[:0])
    with pytest.raises(ValueError, match=r"len\(x\)=0 must be at least 1"):
        models.split(models.create("mlp", 3, hidden=(8,)), "block1", X[:0])
