"""A trained polynomial network on encrypted inputs: the server that computes holds no key that decrypts.

circuit      affine maps and elementwise products, and their values in float64: the oracle of every run
extraction   model, variables, x -> Circuit
seal_bytes   SEAL's objects as bytes
blobs        the frame of everything that client and server exchange
records      named tuples of arrays as bytes, without pickle
http_demo    client and server over HTTP on one machine
two_party    the same circuit on additive shares of two parties, simulated
functional   a quantized first layer under inner-product functional encryption
"""

from gecko_jax.encrypted.blobs import Refused
from gecko_jax.encrypted.circuit import Affine, Circuit, Product, depth, evaluate, node_values
from gecko_jax.encrypted.extraction import extract
from gecko_jax.encrypted.http_demo import RemoteServer, serve

__all__ = [
    "Affine",
    "Circuit",
    "Product",
    "Refused",
    "RemoteServer",
    "depth",
    "evaluate",
    "extract",
    "node_values",
    "serve",
]
