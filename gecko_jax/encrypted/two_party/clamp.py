"""SecureML's activation clamp(x + 1/2, 0, 1) in a circuit, which secret sharing can compute and encryption cannot."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.encrypted.circuit import Affine, Circuit, apply_affine
from gecko_jax.types import Array


class Clamp(NamedTuple):
    """SecureML's activation clamp(x + 1/2, 0, 1), elementwise; it may take the place of a `Product` in a circuit.

    Attributes:
      left: the map whose values are clamped.
      right: None.
    """

    left: Affine
    right: None = None


def with_clamp(circuit: Circuit) -> Circuit:
    """Returns the circuit with SecureML's clamp(x + 1/2, 0, 1) in place of each square.

    Args:
      circuit: whose products are squares.

    Returns:
      The circuit, for `two_party.simulate` and `two_party.evaluate`; encryption cannot compute a clamp.

    Raises:
      ValueError: a product of two different maps, which is not an activation.

    >>> from scipy.sparse import csr_array
    >>> from gecko_jax.encrypted.circuit import Product
    >>> same = Affine({0: csr_array(np.eye(2))}, np.zeros(2))
    >>> output = Affine({1: csr_array(np.eye(2))}, np.zeros(2))
    >>> squared = Circuit((2,), (2,), (Product(same, None),), output, ("input", "square"))
    >>> evaluate(with_clamp(squared), np.array([[0.25, 7.0]])).tolist()
    [[0.75, 1.0]]
    """
    for name, product in zip(circuit.layers[1:], circuit.products, strict=True):
        if product.right is not None:
            raise ValueError(f"layer {name!r} multiplies two different maps; only a square can become a clamp.")
    return circuit._replace(products=tuple(Clamp(product.left) for product in circuit.products))  # pyright: ignore


def node_values(circuit: Circuit, x: Array) -> list[np.ndarray]:
    """Computes the values of all nodes in float64, clamps included.

    Args:
      circuit: of products and clamps.
      x: inputs [b, *input_shape].

    Returns:
      Values [b, n_k] of the nodes 0, 1, ..., and last the output [b, out].
    """
    checks.shape("x", x, (None, *circuit.input_shape))
    nodes = [np.asarray(x, np.float64).reshape(len(x), -1)]
    for product in circuit.products:
        left = apply_affine(product.left, nodes)
        if isinstance(product, Clamp):
            nodes.append(np.clip(left + 0.5, 0, 1))
        else:
            nodes.append(left * (left if product.right is None else apply_affine(product.right, nodes)))
    return [*nodes, apply_affine(circuit.output, nodes)]


def evaluate(circuit: Circuit, x: Array) -> np.ndarray:
    """Computes the outputs of a circuit with clamps in float64.

    Args:
      circuit: of products and clamps.
      x: inputs [b, *input_shape].

    Returns:
      [b, *output_shape] float64.

    Raises:
      ValueError: inputs of another shape.

    >>> from scipy.sparse import csr_array
    >>> same = Affine({0: csr_array(np.eye(1))}, np.zeros(1))
    >>> circuit = Circuit((1,), (1,), (Clamp(same),), Affine({1: csr_array(np.eye(1))}, np.ones(1)), ("", ""))
    >>> evaluate(circuit, np.array([[-3.0], [0.25]])).tolist()
    [[1.0], [1.75]]
    """
    return node_values(circuit, x)[-1].reshape(len(x), *circuit.output_shape)
