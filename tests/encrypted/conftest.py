"""A small program, a client and a server that has its keys, made once for all tests of a process."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.sparse import csr_array

from gecko_jax.encrypted import Client, Program, Server, compile_circuit
from gecko_jax.encrypted.circuit import Affine, Circuit, Product


class Exchange(NamedTuple):
    """Who talks about what: x [6, 5] are inputs, expected [6, 3] NumPy's outputs, keys the client's evaluation keys."""

    program: Program
    client: Client
    server: Server
    keys: bytes
    x: Any
    expected: Any

    def __repr__(self):  # Hypothesis prints what a test is given
        return "Exchange"


def small_network(seed):
    """(circuit, x, outputs) of W2 (W1 x + b1)^2 + b2 with 5 inputs, 4 squares and 3 outputs; outputs by plain NumPy."""
    rng = np.random.default_rng(seed)
    w1, b1, w2, b2, x = (rng.normal(size=shape) for shape in [(4, 5), 4, (3, 4), 3, (6, 5)])
    first, last = Affine({0: csr_array(w1)}, b1), Affine({1: csr_array(w2)}, b2)
    circuit = Circuit((5,), (3,), (Product(first, None),), last, ("input", "square"))
    return circuit, x, (x @ w1.T + b1[None]) ** 2 @ w2.T + b2[None]


@pytest.fixture(scope="session")
def exchange():
    circuit, x, expected = small_network(0)
    program = compile_circuit(circuit, x)
    client, server = Client(program.interface, program.digest), Server(program, max_clients=2)
    server.add_keys(keys := client.evaluation_keys())
    return Exchange(program, client, server, keys, x, expected)


@pytest.fixture(scope="session")
def other():
    """A second program of the same shapes, with its client."""
    circuit, x, _ = small_network(1)
    program = compile_circuit(circuit, x)
    return program, Client(program.interface, program.digest)
