"""What cmsis_nn.h holds gives the codes of graph.run by the arithmetic of CMSIS-NN, here in Python's integers."""

import re

import flax.linen as nn
import numpy as np
import pytest

from gecko_jax import integer, models, quantizers
from gecko_jax.export.folders import random_codes
from gecko_jax.export.litert.cmsis_nn import cmsis_header
from gecko_jax.integer.nodes import Add, Dense, IntegerTensor, Thresholds


class Sum(nn.Module):
    """Two dense layers and a sum of two tensors."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(4, name="Head.1")(nn.relu(nn.Dense(5)(x))) + nn.Dense(4)(x)


@pytest.fixture(scope="module")
def graph():
    """With ternary weights in one layer, whose sums are shifted."""
    rng = np.random.default_rng(0)
    x, model = rng.normal(size=(16, 6)).astype(np.float32), models.from_linen(Sum())
    shapes = {"Dense_0": (6, 5), "Head.1": (5, 4), "Dense_1": (6, 4)}
    sizes = {name: {"kernel": shape, "bias": shape[1:]} for name, shape in shapes.items()}
    layers = {
        name: {part: rng.normal(size=size).astype(np.float32) for part, size in parts.items()}
        for name, parts in sizes.items()
    }
    model = models.quantized(model, [("Dense_1", quantizers.ternary(), None)], float_layers=())
    return integer.freeze(model, {"params": layers}, x)


def array(header, name):
    [(count, listing)] = re.findall(rf"static const int32_t {name}\[(\d+)\] = \{{([^}}]*)\}}", header)
    values = [int(each) for each in listing.split(",")]
    assert len(values) == int(count)
    return values


def constant(header, name):
    return int(re.search(rf"^#define {name} (-?\d+)$", header, re.M)[1])


def requantize(value, multiplier, shift):
    """arm_nn_requantize: arm_nn_doubling_high_mult_no_sat, then arm_nn_divide_by_power_of_two."""
    product = ((value << max(shift, 0)) * multiplier + (1 << 30)) >> 31
    mask = (1 << max(-shift, 0)) - 1
    result = product >> max(-shift, 0)
    return result + ((product & mask) > (mask >> 1) + (result < 0))


def clipped(header, name, codes):
    low, high = (constant(header, f"{name}_ACTIVATION_{end}") for end in ("MIN", "MAX"))
    return [min(max(code + constant(header, f"{name}_OUTPUT_OFFSET"), low), high) for code in codes]


def test_layers_computed_with_the_header_give_the_codes_of_the_network(graph):
    header, inputs = cmsis_header(graph), random_codes(graph, 40, 1)
    expected = np.asarray(graph.run(inputs)).tolist()
    layers = [node for node in graph.nodes if isinstance(node, (Dense, Add))]
    assert [type(node) for node in layers].count(Dense) == 3 and len(layers) == len(graph.nodes) == 4
    assert any(isinstance(node, Dense) and node.stage.left_shift for node in layers)
    for x, y in zip(inputs.tolist(), expected, strict=True):
        codes = {graph.input: x}
        for number, node in enumerate(layers):
            lower = f"layer{number}_{node.path.lower().replace('.', '_')}".rstrip("_")
            name, factors = lower.upper(), (array(header, f"{lower}_multipliers"), array(header, f"{lower}_shifts"))
            if isinstance(node, Add):
                offsets = [constant(header, f"{name}_INPUT{n}_OFFSET") for n in (1, 2)]
                pairs = (array(header, f"{lower}_input_{what}") for what in ("multipliers", "shifts"))
                scaled = zip(*pairs, strict=True)
                left = constant(header, f"{name}_LEFT_SHIFT")
                sides = [
                    [requantize((code + offset) << left, *factor) for code in codes[read]]
                    for read, offset, factor in zip(node.inputs, offsets, scaled, strict=True)
                ]
                sums, factors = [sum(pair) for pair in zip(*sides, strict=True)], [each * 4 for each in factors]
            else:
                offset = constant(header, f"{name}_INPUT_OFFSET")
                weights = (node.weights.astype(int) << node.stage.left_shift).T.tolist()  # as model.tflite holds them
                read = [code + offset for code in codes[node.inputs[0]]]
                sums = [int(b) + sum(map(int.__mul__, read, row)) for b, row in zip(node.bias, weights, strict=True)]
            codes[node.output] = clipped(header, name, map(requantize, sums, *factors))
        assert codes[graph.output] == y


def test_thresholds_have_no_factors():
    tensors = IntegerTensor("input", (2,), 0.5), IntegerTensor("sign", (1,), 1.0, 0, -1, 1, 1)
    stage = Thresholds(np.zeros(1, np.int32))
    dense = Dense("d", (0,), 1, np.ones((2, 1), np.int8), np.ones(1), 1, np.zeros(1, np.int32), stage)
    with pytest.raises(ValueError, match="layer 'd' compares sums with thresholds"):
        cmsis_header(integer.IntegerGraph(tensors, (dense,), 0, 1))
