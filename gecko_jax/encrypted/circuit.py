"""A polynomial network as affine maps and elementwise products: what runs under encryption, and the NumPy oracle of it.

    node 0                 the input, flattened row by row
    node i + 1             products[i]: left * right, or left^2, elementwise
    Affine                 sum over earlier nodes k of terms[k] @ node_k + bias
    output                 an Affine

A network of L layers with quadratic activations in between is L affine maps and L - 1 squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.types import Array


class Affine(NamedTuple):
    """An affine map of nodes: sum over k of terms[k] @ node_k + bias.

    Attributes:
      terms: {number of a node: scipy.sparse.csr_array [out, n_k], float64, without stored zeros}. {} for a constant.
      bias: [out] float64.
    """

    terms: dict[int, Any]
    bias: np.ndarray


class Product(NamedTuple):
    """An elementwise product of two affine maps.

    Attributes:
      left: a map.
      right: a map of the same length; None for the square of `left`.
    """

    left: Affine
    right: Affine | None


class Circuit(NamedTuple):
    """A network as affine maps and products.

    Attributes:
      input_shape: of one example.
      output_shape: of one example's output.
      products: node i + 1 is products[i]; its maps read earlier nodes only.
      output: the map that computes the flattened output.
      layers: names for messages: of node i the layer that computes it, "input" for node 0.
    """

    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    products: tuple[Product, ...]
    output: Affine
    layers: tuple[str, ...]


def products_of(circuit: Circuit) -> tuple[Product, ...]:
    """Returns a circuit's nodes if all of them are products, which is what encryption computes.

    Args:
      circuit: of a network.

    Raises:
      ValueError: another node, such as a clamp, which two parties can compute.

    >>> products_of(Circuit((2,), (2,), (), Affine({}, np.zeros(2)), ("input",)))
    ()
    """
    for layer, node in zip(circuit.layers[1:], circuit.products, strict=True):
        if not isinstance(node, Product):
            raise ValueError(
                f"{layer or 'a node'} is a {type(node).__name__}, which is not a polynomial; expected products. Run it "
                'by encrypted.two_party.simulate, or train with activation="quadratic" and use encrypted.extract.'
            )
    return circuit.products


def apply_affine(affine: Affine, nodes: Sequence[np.ndarray]) -> np.ndarray:
    """Computes an affine map of the nodes' values.

    Args:
      affine: the map.
      nodes: values [b, n_k] of the nodes 0, 1, ..., at least of all that the map reads.

    Returns:
      [b, out] float64.

    >>> from scipy.sparse import csr_array
    >>> double = Affine({0: csr_array(2 * np.eye(2))}, np.ones(2))
    >>> apply_affine(double, [np.array([[1.0, 2.0]])]).tolist()
    [[3.0, 5.0]]
    """
    result = np.tile(affine.bias, (len(nodes[0]), 1))
    for node, matrix in affine.terms.items():
        result += (matrix @ nodes[node].T).T
    return result


def real_rows(name: str, x: Array, shape: tuple[int, ...]) -> np.ndarray:
    """Returns inputs as float64, after a check that none is lost on the way.

    Args:
      name: of the argument, for messages.
      x: real numbers [b, *shape], b at least 1.
      shape: of one example.

    Raises:
      ValueError: another shape, no example, numbers that are not real, not finite, or hidden by a mask.

    >>> real_rows("x", np.array([[1, 2]]), (2,)).dtype
    dtype('float64')
    """
    return checks.finite(name, flat_rows(name, checks.not_empty(name, x), shape)).reshape(-1, *shape)


def flat_rows(name: str, x: Array, shape: tuple[int, ...]) -> np.ndarray:
    """Returns inputs as float64 [b, features]; they may be none, or not finite.

    Args:
      name: of the argument, for messages.
      x: real numbers [b, *shape].
      shape: of one example.

    Raises:
      ValueError: another shape, numbers that are not real, or hidden by a mask.

    >>> flat_rows("x", np.ones((2, 2, 3)), (2, 3)).shape
    (2, 6)
    """
    rows = np.asarray(checks.shape(name, checks.unmasked(name, x), (None, *shape)))
    if rows.dtype.kind not in "biuf":
        raise ValueError(f"{name} has dtype {rows.dtype}; expected real numbers.")
    return np.asarray(rows, np.float64).reshape(len(rows), int(np.prod(shape)))


def node_values(circuit: Circuit, x: Array) -> list[np.ndarray]:
    """Computes the values of all nodes.

    Args:
      circuit: of a network.
      x: inputs [b, *input_shape].

    Returns:
      Values [b, n_k], float64, of the nodes 0, 1, ...

    Raises:
      ValueError: inputs of another shape.

    >>> from scipy.sparse import csr_array
    >>> same = Affine({0: csr_array(np.eye(2))}, np.zeros(2))
    >>> square = Circuit((2,), (2,), (Product(same, None),), Affine({1: csr_array(np.eye(2))}, np.zeros(2)), ("", ""))
    >>> [values.tolist() for values in node_values(square, np.array([[3.0, 4.0]]))]
    [[[3.0, 4.0]], [[9.0, 16.0]]]
    """
    nodes = [flat_rows("x", x, circuit.input_shape)]
    for left, right in products_of(circuit):
        factor = apply_affine(left, nodes)
        nodes.append(factor * (factor if right is None else apply_affine(right, nodes)))
    return nodes


def evaluate(circuit: Circuit, x: Array) -> np.ndarray:
    """Computes the network's outputs in float64: the oracle of every encrypted run.

    Args:
      circuit: of a network.
      x: inputs [b, *input_shape].

    Returns:
      [b, *output_shape] float64.

    Raises:
      ValueError: inputs of another shape.

    >>> from scipy.sparse import csr_array
    >>> same = Affine({0: csr_array(np.eye(2))}, np.zeros(2))
    >>> total = Affine({1: csr_array(np.ones((1, 2)))}, np.ones(1))
    >>> square = Circuit((2,), (1,), (Product(same, None),), total, ("input", "square"))
    >>> evaluate(square, np.array([[3.0, 4.0]])).tolist()
    [[26.0]]
    """
    return apply_affine(circuit.output, node_values(circuit, x)).reshape(len(x), *circuit.output_shape)


def depth(circuit: Circuit) -> int:
    """Counts the products that follow one another on the longest way from the input to the output.

    Args:
      circuit: of a network.

    >>> from scipy.sparse import csr_array
    >>> same = Affine({0: csr_array(np.eye(2))}, np.zeros(2))
    >>> depth(Circuit((2,), (2,), (Product(same, None),), Affine({1: csr_array(np.eye(2))}, np.zeros(2)), ("", "")))
    1
    """
    depths = [0]

    def deepest(affine: Affine) -> int:
        return max((depths[node] for node in affine.terms), default=0)

    for left, right in products_of(circuit):
        depths.append(1 + max(deepest(left), deepest(right) if right else 0))
    return deepest(circuit.output)
