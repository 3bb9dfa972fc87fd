"""Circuits with drawn weights, and the protocol run on them."""

import numpy as np
from scipy.sparse import csr_array

from gecko_jax.encrypted.circuit import Affine, Circuit, Product
from gecko_jax.encrypted.two_party import Clamp, lay_out
from gecko_jax.encrypted.two_party.fixed_point import encode
from gecko_jax.encrypted.two_party.simulation import run_parties


def affine(random, outputs, **widths):
    """A map of the nodes n0, n1, ... of these widths, with weights of their fan-in's size and a bias."""
    fan_in = max(1, sum(widths.values()))
    terms = {int(node[1:]): csr_array(random.normal(size=(outputs, width)) / np.sqrt(fan_in))
             for node, width in widths.items()}  # fmt: skip
    return Affine(terms, random.normal(size=outputs) / 4)


def mlp(inputs, hidden, outputs, seed=0):
    """inputs - x^2 of `hidden` - outputs."""
    random = np.random.default_rng(seed)
    square = Product(affine(random, hidden, n0=inputs), None)
    return Circuit((inputs,), (outputs,), (square,), affine(random, outputs, n1=hidden), ("input", "Dense_0"))


def clamped(circuit, node=Clamp):
    """The circuit with a clamp of the left map, or a ReLU, in place of each product."""
    return circuit._replace(products=tuple(node(product.left) for product in circuit.products))


def residual(seed=0):
    """A square, a product of two maps that read different nodes, and an output that reads three nodes."""
    random = np.random.default_rng(seed)
    products = (
        Product(affine(random, 6, n0=5), None),
        Product(affine(random, 4, n0=5, n1=6), affine(random, 4, n1=6)),
        Product(affine(random, 4, n2=4), affine(random, 4)),  # the right factor is a constant
    )
    return Circuit((5,), (3,), products, affine(random, 3, n0=5, n2=4, n3=4), ("input", "a", "b", "c"))


def inputs(circuit, batch=3, seed=1):
    return np.random.default_rng(seed).uniform(-1, 1, (batch, *circuit.input_shape))


def run(circuit, x, seed, public_weights=False):
    """The outputs in the ring and the messages of one run."""
    layout = lay_out(circuit, (13, 13), public_weights)
    ring, channel, _ = run_parties(circuit, layout, encode("x", x, 13), seed)
    return ring, channel.messages


def words(messages, receiver):
    """All numbers that a party received, the dealer's included."""
    return np.concatenate([np.frombuffer(m.payload, "<u8") for m in messages if m.receiver == receiver])
