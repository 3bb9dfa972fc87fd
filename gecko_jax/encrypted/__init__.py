"""A trained polynomial network on encrypted inputs: the server that computes holds no key that decrypts.

circuit      affine maps and elementwise products, and their values in float64: the oracle of every run
extraction   model, variables, x -> Circuit
compiling    Circuit -> Program: parameters, packing and steps, chosen by predicted cost; refuses what would overflow
program      what runs: the client's interface and the server's steps; .simulate(x) and .report() predict a run
client       holds the secret key: encrypts and decrypts
server       holds the program and evaluation keys: computes
verification runs a program on real ciphertexts and compares it with the network
saving       a verified program as a folder
executor     runs a program over a backend: SEAL, a simulation, or a counter of operations
ranges       how far values go: measured on data, bounded over a box of inputs
certificate  the ranges against the headroom of ciphertexts, and the box that clients clip to
arrangement  other orders of hidden units, in which matrices have few diagonals
seal_bytes   SEAL's objects as bytes
blobs        the frame of everything that client and server exchange
records      named tuples of arrays as bytes, without pickle
http_demo    client and server over HTTP on one machine
two_party    the same circuit on additive shares of two parties, simulated
functional   a quantized first layer under inner-product functional encryption
"""

from gecko_jax.encrypted.arrangement import arranged, diagonal_count, reordered
from gecko_jax.encrypted.blobs import Refused
from gecko_jax.encrypted.certificate import Certificate, certify, shifted
from gecko_jax.encrypted.circuit import Affine, Circuit, Product, depth, evaluate, node_values
from gecko_jax.encrypted.client import Client
from gecko_jax.encrypted.compiling import compile, compile_circuit
from gecko_jax.encrypted.executor import Executor
from gecko_jax.encrypted.extraction import extract
from gecko_jax.encrypted.http_demo import RemoteServer, serve
from gecko_jax.encrypted.packing import outside_box
from gecko_jax.encrypted.program import Interface, Program
from gecko_jax.encrypted.ranges import interval_bounds, largest_values, value_names
from gecko_jax.encrypted.report import EncryptedReport
from gecko_jax.encrypted.saving import load, save
from gecko_jax.encrypted.server import Server
from gecko_jax.encrypted.verification import NotVerified, Verification, verify

__all__ = [
    "Affine",
    "Certificate",
    "Circuit",
    "Client",
    "EncryptedReport",
    "Executor",
    "Interface",
    "NotVerified",
    "Product",
    "Program",
    "Refused",
    "RemoteServer",
    "Server",
    "Verification",
    "arranged",
    "certify",
    "compile",
    "compile_circuit",
    "depth",
    "diagonal_count",
    "evaluate",
    "extract",
    "interval_bounds",
    "largest_values",
    "load",
    "node_values",
    "outside_box",
    "reordered",
    "save",
    "serve",
    "shifted",
    "value_names",
    "verify",
]
