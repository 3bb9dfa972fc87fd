"""Polynomials as a constant and a product of two factors; networks with fitted activations in few products."""

import numpy as np
import pytest
from extracted_circuits import circuit_of

from gecko_jax import models
from gecko_jax.encrypted import depth
from gecko_jax.encrypted.factoring import factored, without_rounding

GRID = np.linspace(-1, 1, 1001)


def random_polynomials():
    random = np.random.default_rng(0)
    for degree in range(4, 19):
        yield random.normal(size=degree + 1)
        yield np.polynomial.chebyshev.cheb2poly(random.normal(size=degree + 1) / np.arange(1, degree + 2) ** 2)
        yield np.append(random.normal(size=degree), 1e-4)  # a root far away


@pytest.mark.parametrize("number", range(45))
def test_factors_multiply_to_the_polynomial(number):
    coefficients = list(random_polynomials())[number]
    degree = len(coefficients) - 1
    f, g = factored(coefficients)
    values = np.polyval(f[::-1], GRID) * np.polyval(g[::-1], GRID) + coefficients[0]
    expected = np.polyval(coefficients[::-1], GRID)
    np.testing.assert_allclose(values, expected, atol=1e-9 * np.abs(expected).max())
    assert len(f) + len(g) - 2 == degree and max(len(f), len(g)) - 1 <= 2 ** (np.ceil(np.log2(degree)) - 1)
    assert np.abs(np.polyval(f[::-1], GRID)).max() == pytest.approx(np.abs(np.polyval(g[::-1], GRID)).max(), rel=0.1)


def test_rounding_is_not_a_coefficient():
    assert without_rounding([1e-16, 0.0, -2.0, 3e-16, 1e-9]).tolist() == [0.0, 0.0, -2.0, 0.0, 1e-9]


@pytest.mark.parametrize("degree, products", [(2, 1), (4, 2), (8, 4), (16, 8)])
def test_a_fitted_relu_is_read_as_one_vector(degree, products):
    net = models.create("mlp", 3, hidden=(6,), activation="relu_fit", activation_options={"degree": degree})
    circuit = circuit_of(net, (5,), rows=32)
    assert (len(circuit.products), depth(circuit)) == (products, int(np.log2(degree)))
    assert set(circuit.output.terms) == {products}


@pytest.mark.parametrize("activation", ["herpn", "gelu_fit", "sigmoid_fit", "quadratic_channel", "polynomial"])
def test_other_activations_of_degree_2_or_3_end_in_one_node(activation):
    circuit = circuit_of(models.create("mlp", 3, hidden=(6,), activation=activation), (5,), rows=32)
    assert set(circuit.output.terms) == {len(circuit.products)} and len(circuit.products) <= 2
