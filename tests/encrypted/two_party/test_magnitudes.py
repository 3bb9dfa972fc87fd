"""Bounds on what the protocol computes: against a count by hand, against runs at the ends, and their sums."""

import numpy as np
import pytest
from drawn_circuits import affine, clamped, inputs, mlp, residual
from scipy.sparse import csr_array

from gecko_jax.encrypted.circuit import Affine, Circuit
from gecko_jax.encrypted.two_party import Settings, simulate
from gecko_jax.encrypted.two_party.bounds import bound_magnitudes, check_truncations
from gecko_jax.encrypted.two_party.nodes import Clamp, Relu, node_values

BITS = 13, 16


def by_hand(circuit, input_bound):
    """Bounds of all nodes without any rounding, and the sums over maps and over products, entry by entry."""
    nodes, maps, products = [[input_bound] * circuit.input_shape[0]], [], []

    def reach(part):
        rows = [abs(bias) for bias in part.bias]
        for node, matrix in part.terms.items():
            for row, column in zip(*matrix.nonzero(), strict=True):
                rows[row] += abs(matrix[row, column]) * nodes[node][column]
        maps.extend(rows)
        return rows

    for product in circuit.products:
        left = reach(product.left)
        if isinstance(product, Clamp):
            nodes.append([1.0] * len(left))
            continue
        if isinstance(product, Relu):
            nodes.append(left)
            continue
        right = left if product.right is None else reach(product.right)
        nodes.append([a * b for a, b in zip(left, right, strict=True)])
        products.extend(nodes[-1])
    nodes.append(reach(circuit.output))
    return nodes, sum(maps), sum(products)


CIRCUITS = {"mlp": mlp(6, 5, 2), "residual": residual(), "clamp": clamped(mlp(6, 5, 2)),
            "relu": clamped(mlp(6, 5, 2), Relu)}  # fmt: skip


@pytest.mark.parametrize("circuit", CIRCUITS.values(), ids=CIRCUITS)
def test_the_intervals_are_those_by_hand_and_a_little_wider(circuit):
    magnitudes = bound_magnitudes(circuit, 1.5, (24, 24))
    nodes, maps, products = by_hand(circuit, 1.5)
    for bound, expected in zip(magnitudes.nodes, nodes, strict=True):
        assert (bound >= np.array(expected)).all()
        np.testing.assert_allclose(bound, expected, rtol=1e-4)
    assert maps < magnitudes.maps < 1.0001 * maps and products <= magnitudes.products <= 1.0001 * products


def test_a_single_map_reaches_its_bound():
    random = np.random.default_rng(0)
    circuit = Circuit((7,), (4,), (), affine(random, 4, n0=7), ("input",))
    matrix, bias = circuit.output.terms[0].toarray(), circuit.output.bias
    extremes = np.sign(matrix) * np.sign(bias)[:, None]
    reached = np.abs(np.diag(node_values(circuit, extremes)[-1]))
    [_, bound] = bound_magnitudes(circuit, 1.0, BITS).nodes
    assert (reached <= bound).all() and (bound - reached < 1e-2).all()


def test_the_rounding_of_weights_is_in_the_bounds():
    # At 4 bits, .6 of a unit becomes a whole unit, and the result two thirds larger than the circuit's own.
    tiny = Affine({0: csr_array(np.full((1, 400), 0.6 / 16))}, np.zeros(1))
    circuit = Circuit((400,), (1,), (), tiny, ("input",))
    result = simulate(circuit, np.ones((1, 400)), Settings(13, 4))
    assert result.outputs[0, 0] == pytest.approx(25, abs=1e-3)
    assert 25 <= bound_magnitudes(circuit, 1.0, (13, 4)).nodes[-1][0] < 28


def test_bounds_from_data_hold_where_they_are_narrower():
    circuit = residual()
    wide = bound_magnitudes(circuit, 1.0, BITS)
    values = [np.abs(value).max(0) for value in node_values(circuit, inputs(circuit, 50))[1:-1]]
    narrow = bound_magnitudes(circuit, 1.0, BITS, values)
    assert narrow.maps < wide.maps and narrow.products < wide.products
    assert [bound.tolist() for bound in narrow.nodes[1:-1]] == [value.tolist() for value in values]
    huge = bound_magnitudes(circuit, 1.0, BITS, [1e9] * 3)
    assert (huge.maps, huge.products) == (wide.maps, wide.products)


def test_the_probability_adds_maps_and_products_with_their_own_bits():
    magnitudes = bound_magnitudes(mlp(6, 5, 2), 1.0, BITS)
    expected = 7 * (magnitudes.maps * 2.0 ** (13 + 16 + 1 - 64) + magnitudes.products * 2.0 ** (26 + 1 - 64))
    assert check_truncations(magnitudes, 7, BITS, 0.25) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="carry 13 \\+ 16 bits after the point"):
        check_truncations(magnitudes, 7, BITS, expected / 1.01)
