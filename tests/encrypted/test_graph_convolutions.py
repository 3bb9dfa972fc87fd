"""A graph convolution is one more linear map: the adjacency, whose sparsity is what CryptoGCN saves by."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from extracted_circuits import circuit_of, draws, variables_of

from gecko_jax import models
from gecko_jax.encrypted import compile_circuit, depth, extract

NODES, FEATURES = 16, 4


def normalized(adjacency):
    """D^-1/2 (A + I) D^-1/2 of Kipf and Welling."""
    a = adjacency + np.eye(len(adjacency))
    scale = 1 / np.sqrt(a.sum(1))
    return (scale[:, None] * a * scale[None]).astype(np.float32)


def ring():
    a = np.roll(np.eye(NODES), 1, 1)
    return normalized(a + a.T)


class GraphNetwork(nn.Module):
    """Two graph convolutions with quadratics, and a mean over the nodes; by a matrix, or by sums over edges."""

    adjacency: tuple
    by_edges: bool = False

    @nn.compact
    def __call__(self, x):
        a = np.array(self.adjacency, np.float32)
        to, start = np.nonzero(a)
        for _ in range(2):
            x = nn.Dense(FEATURES)(x)
            if self.by_edges:
                messages = x[:, start] * a[to, start][None, :, None]
                x = jnp.zeros_like(x).at[:, to].add(messages)
            else:
                x = jnp.einsum("ij,bjf->bif", a, x)
            x = 0.2 * x * x + 0.5 * x
        return nn.Dense(2)(x.mean(1))


def network(adjacency, by_edges=False):
    return GraphNetwork(tuple(map(tuple, adjacency.tolist())), by_edges)


@pytest.mark.parametrize("by_edges", [False, True])
def test_a_graph_network_has_one_square_a_layer_and_one_weight_an_edge(by_edges):
    circuit = circuit_of(network(ring(), by_edges), (NODES, FEATURES))
    assert len(circuit.products) == depth(circuit) == 2
    for node, product in enumerate(circuit.products):
        assert product.right is None
        assert product.left.terms[node].nnz == 3 * NODES * FEATURES**2  # two neighbors and the node itself
    assert circuit.output.terms[2].shape == (2, NODES * FEATURES)


def test_messages_go_along_edges_alone():
    circuit = circuit_of(network(ring()), (NODES, FEATURES))
    blocks = circuit.products[0].left.terms[0].toarray().reshape(NODES, FEATURES, NODES, FEATURES)
    np.testing.assert_array_equal(np.abs(blocks).max((1, 3)) > 0, ring() > 0)


def test_a_sparse_graph_runs_on_fewer_operations_to_the_same_precision():
    x = draws((8, NODES, FEATURES))
    multiplications = {}
    for name, adjacency in (("ring", ring()), ("complete", normalized(np.ones((NODES, NODES)) - np.eye(NODES)))):
        model = models.from_linen(network(adjacency))
        variables = variables_of(model, x)
        program = compile_circuit(extract(model, variables, x), x, packing="interleaved")
        expected = np.asarray(model.apply(variables, jax.numpy.asarray(x))[0])
        np.testing.assert_allclose(program.simulate(x), expected, atol=1e-3 * np.abs(expected).max())
        multiplications[name] = program.report().operations["mul_plain"]
    assert multiplications["ring"] < multiplications["complete"] / 3
