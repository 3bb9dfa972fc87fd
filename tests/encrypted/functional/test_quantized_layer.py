"""The first layer in integers, what follows it, and what its results give away."""

import itertools

import numpy as np
import pytest
from scipy.sparse import csr_array

from gecko_jax.encrypted.circuit import Affine, Circuit, Product, evaluate
from gecko_jax.encrypted.functional import QuantizedLayer, measure_leakage, quantize_first_layer
from gecko_jax.encrypted.two_party import Clamp


def drawn_affine(random, outputs, **widths):
    terms = {int(node[1:]): csr_array(random.normal(size=(outputs, width))) for node, width in widths.items()}
    return Affine(terms, random.normal(size=outputs))


def network(seed=0):
    """Two squares, and an output that reads both."""
    random = np.random.default_rng(seed)
    products = (Product(drawn_affine(random, 3, n0=5), None), Product(drawn_affine(random, 4, n1=3), None))
    return Circuit((5,), (2,), products, drawn_affine(random, 2, n1=3, n2=4), ("input", "a", "b"))


def bare(weights, levels=3):
    rows = len(weights)
    return QuantizedLayer(np.array(weights), np.ones(rows), np.zeros(rows), 1 / levels, levels, plain(len(weights[0])))


def plain(width):
    return Circuit((width,), (1,), (), Affine({0: csr_array(np.ones((1, width)))}, np.zeros(1)), ("input",))


def replaced(circuit, layer):
    """The circuit with the quantized weights in its first layer."""
    matrix = csr_array(layer.weights * layer.weight_steps[:, None])
    first = circuit.products[0]._replace(left=Affine({0: matrix}, layer.bias))
    return circuit._replace(products=(first, *circuit.products[1:]))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_integers_and_the_rest_are_the_circuit_with_quantized_weights(bits):
    circuit = network()
    layer = quantize_first_layer(circuit, bits, input_levels=15, input_bound=2.0)
    codes = np.random.default_rng(1).integers(-15, 16, (20, 5))
    x = codes * (2.0 / 15)
    assert (layer.quantize(x) == codes).all() and np.abs(layer.weights).max() == 2 ** (bits - 1) - 1
    np.testing.assert_allclose(layer.finish(codes @ layer.weights.T), evaluate(replaced(circuit, layer), x), rtol=1e-9)
    exact = circuit.products[0].left.terms[0].toarray()
    steps = np.abs(exact).max(1, keepdims=True) / (2 ** (bits - 1) - 1)
    assert (np.abs(layer.weights * layer.weight_steps[:, None] - exact) <= 0.501 * steps).all()
    extreme = np.sign(layer.weights) * 15
    assert (np.diag(extreme @ layer.weights.T) == layer.bounds()).all()


def test_a_network_of_one_layer():
    layer = quantize_first_layer(plain(3), 8, 4)
    assert layer.finish(layer.quantize(np.array([[1, -0.5, 0.25]])) @ layer.weights.T)[0, 0] == pytest.approx(0.75)


@pytest.mark.parametrize(
    "x, message",
    [
        (np.full((1, 5), 1.1), "x reaches 1.067, beyond input_bound=1"),
        (np.full((1, 5), np.nan), "x holds 5 entries that are NaN"),
        (np.zeros((1, 4)), "x has shape \\(1, 4\\); expected \\(any, 5\\)"),
    ],
)
def test_inputs_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        quantize_first_layer(network(), 4, 15).quantize(x)


def test_circuits_that_need_the_input_again_are_refused():
    circuit, random = network(), np.random.default_rng(0)
    first = circuit.products[0]
    for wrong in (
        circuit._replace(output=drawn_affine(random, 2, n0=5, n2=4)),
        circuit._replace(products=(first, Product(drawn_affine(random, 4, n1=3), drawn_affine(random, 4, n0=5)))),
        circuit._replace(products=(first._replace(right=first.left), circuit.products[1])),
    ):
        with pytest.raises(ValueError, match="layer 'a' is not a square that alone reads the input"):
            quantize_first_layer(wrong)
    with pytest.raises(ValueError, match="it is a constant"):
        quantize_first_layer(plain(2)._replace(output=Affine({}, np.zeros(1))))
    with pytest.raises(ValueError, match="circuit must be a Circuit of products"):
        quantize_first_layer(circuit._replace(products=(Clamp(first.left), *circuit.products[1:])))
    with pytest.raises(ValueError, match="bits=9 must be an integer from 2 to 8"):
        quantize_first_layer(circuit, 9)


@pytest.mark.parametrize("weights, rank", [([[1, 2, 3]], 1), ([[1, 2, 3], [2, 4, 6]], 1), ([[1, 0, 0], [1, 1, 0]], 2)])
def test_the_rank_is_what_leaks(weights, rank):
    leakage = measure_leakage(bare(weights))
    assert (leakage.rank, leakage.inputs) == (rank, 3)
    assert f"learns {rank} of the input's 3 dimensions exactly" in str(leakage)


def test_recovered_variance_is_that_of_a_least_squares_reconstruction():
    rows = np.random.default_rng(0).integers(-7, 8, (2, 4))
    layer = bare([*rows, rows[0] + rows[1]])  # the third adds nothing
    x = np.random.default_rng(1).integers(-3, 4, (50, 4)) / 3 * [1, 1, 0.34, 0]
    leakage = measure_leakage(layer, x)
    codes = layer.quantize(x)
    centered = codes - codes.mean(0)
    rebuilt = centered @ layer.weights.T @ np.linalg.pinv(layer.weights).T
    assert leakage.recovered.value == pytest.approx(1 - ((centered - rebuilt) ** 2).sum() / (centered**2).sum())
    assert 0.1 < leakage.recovered.value < 0.95 and leakage.recovered.n == 50


def test_one_row_may_determine_a_small_input_which_the_bits_announce():
    grid = list(itertools.product(range(-1, 2), repeat=4))
    for weights, determined in (([[1, 3, 9, 27]], True), ([[1, 1, 1, 1]], False)):
        layer = bare(weights, levels=1)
        results = {int(np.dot(x, weights[0])) for x in grid}
        leakage = measure_leakage(layer)
        assert (len(results) == len(grid)) == determined
        assert leakage.result_bits.value == pytest.approx(np.log2(2 * sum(weights[0]) + 1))
        assert (leakage.result_bits.value >= leakage.input_bits.value - 1e-9) == determined
        assert ("probably determine it" in str(leakage)) == determined
        assert ("may be determined" in str(leakage)) != determined
