"""Circuits of random weights, and their encrypted runs."""

import functools

import numpy as np
from scipy.sparse import csr_array

from gecko_jax.encrypted import Affine, Circuit, Executor, Product
from gecko_jax.encrypted.packing import pack, unpack
from gecko_jax.encrypted.seal_backend import SealBackend
from gecko_jax.encrypted.seal_secrets import SealSecrets


def affine(random, out, terms):
    """A map of {node: features read}, with weights that keep the scale."""
    size = sum(terms.values())
    matrices = {node: csr_array(random.normal(size=(out, count)) / np.sqrt(size)) for node, count in terms.items()}
    return Affine(matrices, random.normal(size=out) / 4)


def dense_circuit(widths, seed=0):
    """A network of dense layers with squares in between."""
    random = np.random.default_rng(seed)
    maps = [affine(random, out, {k: size}) for k, (size, out) in enumerate(zip(widths[:-1], widths[1:], strict=True))]
    products = tuple(Product(each, None) for each in maps[:-1])
    return Circuit(
        (widths[0],), (widths[-1],), products, maps[-1], ("input", *(f"layer {k}" for k in range(len(products))))
    )


def residual_circuit(seed=0):
    """Products of two factors, a node that two maps read, and terms of several nodes of different depths."""
    random = np.random.default_rng(seed)
    products = (
        Product(affine(random, 12, {0: 10}), affine(random, 12, {0: 10})),
        Product(affine(random, 6, {1: 12, 0: 10}), None),
    )
    return Circuit((10,), (5,), products, affine(random, 5, {2: 6, 1: 12, 0: 10}), ("input", "gate", "square"))


def polynomial_circuit(seed=0):
    """x^4 of a map, times the map: products of nodes that need no map in between."""
    random = np.random.default_rng(seed)
    first = affine(random, 6, {0: 8})
    same = [Affine({node: csr_array(np.eye(6))}, np.zeros(6)) for node in (1, 2)]
    products = (Product(first, None), Product(same[0], None), Product(same[1], first))
    return Circuit((8,), (3,), products, affine(random, 3, {3: 6}), ("input", "square", "fourth", "fifth"))


def canceling_circuit():
    """(x + 9)^2 - 18 x - 81 = x^2: the output's bias is much larger than an output, and than its modulus holds."""
    eye = csr_array(np.eye(6))
    output = Affine({0: -18 * eye, 1: eye}, np.full(6, -81.0))
    return Circuit((6,), (6,), (Product(Affine({0: eye}, np.full(6, 9.0)), None),), output, ("input", "square"))


def convolution(size, channels, out_channels, kernel, stride, random):
    """The matrix of a valid convolution of an image [size, size, channels], and the shape of its result."""
    weights = random.normal(size=(out_channels, kernel, kernel, channels)) / kernel
    side = (size - kernel) // stride + 1
    matrix = np.zeros((side, side, out_channels, size, size, channels))
    for i in range(side):
        for j in range(side):
            matrix[i, j, :, i * stride : i * stride + kernel, j * stride : j * stride + kernel] = weights
    return csr_array(matrix.reshape(side * side * out_channels, -1)), (side, side, out_channels)


@functools.cache
def secrets(parameters):
    """One secret key for each set of parameters, because keys take most of the tests' time."""
    return SealSecrets(parameters)


def encrypted_run(program, x):
    """Outputs of the real ciphertexts: encrypted, run with evaluation keys alone, and decrypted."""
    interface = program.interface
    client = secrets(interface.parameters)
    galois_keys = client.galois_keys(interface.rotations) if interface.rotations else None
    backend = SealBackend(interface.parameters, client.relin_keys(), galois_keys)
    outputs = Executor(program, backend)([client.encrypt(vector) for vector in pack(x, interface)])
    return unpack(np.stack([client.decrypt(each) for each in outputs]), len(x), interface)
