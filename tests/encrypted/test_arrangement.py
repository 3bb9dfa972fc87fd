"""The order of hidden units is free: a shuffled network gets its few diagonals back, and computes the same."""

import numpy as np
import pytest
from scipy import sparse

from gecko_jax.encrypted import Affine, Circuit, Product, arranged, compile_circuit, diagonal_count, evaluate, reordered


def banded(sizes, diagonals, seed=0):
    """A network of squares whose matrices hold the given diagonals alone."""
    random = np.random.default_rng(seed)
    maps = []
    for node, (n, m) in enumerate(zip(sizes, sizes[1:], strict=False)):
        modulus = 1 << (min(n, m) - 1).bit_length()
        places = (np.arange(n)[None] - np.arange(m)[:, None]) % modulus
        matrix = random.normal(size=(m, n)) / np.sqrt(n) * np.isin(places, diagonals)
        maps.append(Affine({node: sparse.csr_array(matrix)}, random.normal(size=m)))
    products = tuple(Product(each, None) for each in maps[:-1])
    return Circuit((sizes[0],), (sizes[-1],), products, maps[-1], ("input", *["hidden"] * len(products)))


def shuffled(circuit, seed=0):
    random = np.random.default_rng(seed)
    return reordered(circuit, [random.permutation(len(left.bias)) for left, _ in circuit.products])


def test_diagonals_are_counted():
    assert diagonal_count(banded((8, 4, 8), [0, 3])) == 4
    assert diagonal_count(banded((32, 8), [1, 2, 5])) == 3


@pytest.mark.parametrize("sizes", [(16, 16, 16), (16, 16, 4, 16, 16), (32, 8, 32)])
@pytest.mark.parametrize("diagonals", [[0, 1, 2], [0, 1, 3]])
def test_a_shuffled_network_gets_its_diagonals_back(sizes, diagonals):
    circuit = banded(sizes, diagonals)
    mixed = shuffled(circuit)
    assert diagonal_count(mixed) > diagonal_count(circuit)
    restored = arranged(mixed)
    assert diagonal_count(restored) == diagonal_count(circuit)
    x = np.random.default_rng(1).normal(size=(5, sizes[0]))
    for other in (mixed, restored):
        np.testing.assert_allclose(evaluate(other, x), evaluate(circuit, x), rtol=1e-12)
    assert compile_operations(restored) == compile_operations(circuit) <= compile_operations(mixed)


def compile_operations(circuit):
    x = np.random.default_rng(2).uniform(size=(8, *circuit.input_shape))
    return compile_circuit(circuit, x, packing="interleaved").report().operations["mul_plain"]


def test_a_dense_network_stays_as_it_is():
    circuit = banded((8, 8, 8), range(8))
    assert arranged(circuit) is circuit


def test_products_of_two_factors_and_several_terms_are_reordered():
    random = np.random.default_rng(0)

    def affine(*nodes, size=4):
        return Affine({k: sparse.csr_array(random.normal(size=(size, 4))) for k in nodes}, random.normal(size=size))

    products = (Product(affine(0), affine(0)), Product(affine(0, 1), None))
    circuit = Circuit((4,), (3,), products, affine(0, 1, 2, size=3), ("input", "a", "b"))
    x = random.normal(size=(6, 4))
    np.testing.assert_allclose(evaluate(shuffled(circuit), x), evaluate(circuit, x), rtol=1e-10)
    np.testing.assert_allclose(evaluate(arranged(circuit), x), evaluate(circuit, x), rtol=1e-10)


def test_an_order_is_a_permutation():
    with pytest.raises(ValueError, match="an order of 4 features must hold each of 0 to 3 once"):
        reordered(banded((4, 4, 4), [0]), [np.array([0, 1, 1, 2])])
