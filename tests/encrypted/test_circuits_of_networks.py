"""Circuits of whole networks: merged maps, one square an activation, weights as deployed."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from extracted_circuits import Function, circuit_of, draws, variables_of

from gecko_jax import models, quantizers
from gecko_jax.encrypted import depth, evaluate, extract, node_values
from gecko_jax.types import Rule


def quadratic(x):
    return 0.3 * x * x - 0.5 * x + 0.1


class Residual(nn.Module):
    """Grouped and depthwise convolutions, BatchNorm, a skip, an average pool."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(4, (3, 3), strides=2, name="stem")(x)
        y = quadratic(nn.BatchNorm(use_running_average=not train)(nn.Conv(4, (3, 3), feature_group_count=4)(x)))
        y = nn.Dropout(0.5, deterministic=not train)(nn.Conv(4, (1, 1), feature_group_count=2)(y))
        x = quadratic(x + y)
        return nn.Dense(3)(nn.avg_pool(x, (2, 2), (2, 2)).reshape(len(x), -1))


def test_a_residual_network_has_one_square_an_activation():
    circuit = circuit_of(Residual(), (8, 8, 2))
    assert len(circuit.products) == depth(circuit) == 2
    assert all(product.right is None for product in circuit.products)
    assert set(circuit.products[0].left.terms) == {0} and set(circuit.products[1].left.terms) == {0, 1}
    assert set(circuit.output.terms) == {2}
    assert circuit.output_shape == (3,) and circuit.input_shape == (8, 8, 2)


def test_maps_are_sparse_and_hold_no_zeros():
    circuit = circuit_of(Residual(), (8, 8, 2))
    maps = [side for product in circuit.products for side in product if side] + [circuit.output]
    assert all(np.all(matrix.data) for each in maps for matrix in each.terms.values())
    assert circuit.products[1].left.terms[1].nnz <= 64 * 2  # 1x1 over two channels of a group


@pytest.mark.parametrize(
    "name, order", [("binary", "xnor"), ("xnor", "xnor"), ("ternary", "post"), ("uniform8", "post")]
)
def test_quantized_weights_are_those_of_the_deployed_network(name, order):
    net = models.create("mlp", 3, hidden=(6, 5), activation="square", normalize=True, order=order)
    rule = Rule(path="", weight=quantizers.QUANTIZERS[name]())
    circuit = circuit_of(models.quantized(net, [rule], float_layers=()), (7,))
    assert len(circuit.products) == 2 and depth(circuit) == 2


def test_lenet_with_average_pools():
    net = models.create(
        "lenet", 5, channels=(3, 4), hidden=6, activation="quadratic_channel", pooling="average", normalize=True
    )
    circuit = circuit_of(net, (10, 10, 1))
    assert len(circuit.products) == 3 and depth(circuit) == 3
    assert [name.split("'")[1].split("/")[0] for name in circuit.layers[1:]] == ["block1", "block2", "block3"]


def test_values_are_those_of_float64_to_the_last_digits():
    net = models.create("mlp", 3, hidden=(6, 5), activation="square")
    x = draws((4, 7))
    variables = variables_of(net, x)
    circuit = extract(net, variables, x)
    h = x.astype(np.float64)
    for name in ("dense1", "dense2"):
        layer = variables["params"][name]
        h = (h @ layer["kernel"].astype(np.float64) + layer["bias"]) ** 2
        np.testing.assert_allclose(node_values(circuit, x)[int(name[-1])], h, rtol=1e-13)
    h = h @ variables["params"]["logits"]["kernel"].astype(np.float64) + variables["params"]["logits"]["bias"]
    np.testing.assert_allclose(evaluate(circuit, x), h, rtol=1e-12)


def test_an_activation_that_is_still_linear_takes_no_product():
    net = models.create("mlp", 3, hidden=(6, 5), activation="quadratic")
    x = draws((4, 7))
    assert extract(net, net.init(jax.random.key(0), x), x).products == ()


def test_a_channel_that_is_almost_linear_keeps_its_digits():
    a, b = np.array([0.2, 1e-9, 0.0]), np.array([1.0, 1.0, 0.0])
    circuit = circuit_of(Function(lambda x: jnp.float32(a)[None] * x * x + jnp.float32(b)[None] * x), (3,))
    (product,) = circuit.products
    assert product.right is not None
    assert max(np.abs(values).max() for values in node_values(circuit, draws((5, 3)))) < 20


def test_powers_stay_small():
    circuit = circuit_of(Function(lambda x: 1e-22 * (100 * x) ** 10 + x), (3,), rows=8)
    x = draws((8, 3))
    largest = np.abs(0.01 * x.astype(np.float64) ** 10).max()
    assert all(np.abs(values).max() <= 1.01 * largest for values in node_values(circuit, x)[1:])


def test_a_network_scanned_over_layers():
    class Stack(nn.Module):
        @nn.compact
        def __call__(self, x):
            layer = nn.scan(
                lambda module, x, _: (quadratic(nn.Dense(4)(x)), None),
                variable_axes={"params": 0}, split_rngs={"params": True}, length=3,
            )  # fmt: skip
            return layer(self, x, None)[0]

    assert depth(circuit_of(Stack(), (4,))) == 3


def test_evaluation_names_a_wrong_shape():
    circuit = circuit_of(nn.Dense(3), (4,))
    with pytest.raises(ValueError, match=r"x has shape \(2, 5\); expected \(any, 4\)"):
        evaluate(circuit, np.ones((2, 5)))
