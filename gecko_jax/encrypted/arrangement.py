"""Reorders the features within a circuit's nodes, so that its matrices have few diagonals: the order is free.

A network's hidden units may stand in any order. Pruning or a graph leaves a matrix with few diagonals in one order, and
with all of them in another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from gecko_jax.encrypted.circuit import Affine, Circuit, Product

MAX_FEATURES = 1024  # of a node that is reordered: the assignment takes their cube
ROUNDS = 3


def diagonal_count(circuit: Circuit) -> int:
    """Counts the diagonals of all matrices: (column - row) modulo the power of two from the smaller side on.

    Args:
      circuit: of a network.

    >>> from gecko_jax.encrypted.circuit import Affine
    >>> shift = sparse.csr_array(np.roll(np.eye(4), 1, 1))
    >>> diagonal_count(Circuit((4,), (4,), (), Affine({0: shift}, np.zeros(4)), ("input",)))
    1
    """
    sides = [side for product in circuit.products for side in product if side is not None]
    return sum(_diagonals(matrix) for side in [*sides, circuit.output] for matrix in side.terms.values())


def reordered(circuit: Circuit, orders: Sequence[np.ndarray]) -> Circuit:
    """Returns the same network with other orders of the features within its nodes.

    Args:
      circuit: of a network.
      orders: of each product: the present place of each feature, in the new order.

    Returns:
      A circuit of the same outputs.

    Raises:
      ValueError: an order that is not a permutation of the node's features.

    >>> from gecko_jax.encrypted.circuit import evaluate
    >>> left = Affine({0: sparse.csr_array(np.array([[1.0, 0.0], [0.0, 2.0]]))}, np.zeros(2))
    >>> output = Affine({1: sparse.csr_array(np.array([[1.0, -1.0]]))}, np.zeros(1))
    >>> circuit = Circuit((2,), (1,), (Product(left, None),), output, ("input", "square"))
    >>> evaluate(reordered(circuit, [np.array([1, 0])]), np.array([[3.0, 1.0]])).tolist()
    [[5.0]]
    """
    for order, (left, _) in zip(orders, circuit.products, strict=True):
        if not np.array_equal(np.sort(order), np.arange(len(left.bias))):
            raise ValueError(f"an order of {len(left.bias)} features must hold each of 0 to {len(left.bias) - 1} once.")

    def columns(affine: Affine) -> Affine:
        terms = {k: sparse.csr_array(m[:, orders[k - 1]]) if k else m for k, m in affine.terms.items()}
        return Affine(terms, affine.bias)

    def rows(affine: Affine, order: np.ndarray) -> Affine:
        return Affine({k: sparse.csr_array(m[order]) for k, m in affine.terms.items()}, affine.bias[order])

    products = []
    for order, (left, right) in zip(orders, circuit.products, strict=True):
        products.append(Product(rows(columns(left), order), None if right is None else rows(columns(right), order)))
    return circuit._replace(products=tuple(products), output=columns(circuit.output))


def arranged(circuit: Circuit) -> Circuit:
    """Reorders the features of each node, the first node first, so that matrices have few diagonals.

    One feature stays, and each other one takes the place at which its weights lie on the diagonals of the first: an
    assignment problem. The outputs of the network stay where they are.

    Args:
      circuit: of a network.

    Returns:
      A circuit of the same outputs; the given one if no order is better.

    Source: Aharoni et al., "HE-PEx: Efficient Machine Learning under Homomorphic Encryption using Pruning, Permutation
    and Expansion", 2022 (arXiv 2207.03384).

    >>> shift = np.roll(np.eye(4), 1, 1)
    >>> left = Affine({0: sparse.csr_array(shift[[2, 0, 1, 3]])}, np.zeros(4))  # the units are shuffled
    >>> output = Affine({1: sparse.csr_array(shift[:, [2, 0, 1, 3]])}, np.zeros(4))
    >>> circuit = Circuit((4,), (4,), (Product(left, None),), output, ("input", "square"))
    >>> diagonal_count(circuit), diagonal_count(arranged(circuit))
    (6, 2)
    """
    best, orders = circuit, [np.arange(len(left.bias)) for left, _ in circuit.products]
    for number, (left, _) in enumerate(circuit.products):
        if len(left.bias) > MAX_FEATURES or not left.terms:
            continue
        current = reordered(circuit, orders).products[number]
        made_by = [matrix for side in current if side is not None for matrix in side.terms.values()]
        read_by = [matrix for node, matrix in best.output.terms.items() if node == number + 1]
        for anchor in range(ROUNDS):
            trial = [*orders]
            trial[number] = _order(made_by, read_by, anchor)
            candidate = reordered(circuit, trial)
            if diagonal_count(candidate) < diagonal_count(best):
                best, orders = candidate, trial
    return best


def _order(made_by: list[Any], read_by: list[Any], anchor: int) -> np.ndarray:
    """Returns the order of a node's features that adds the fewest diagonals to those of one feature at its place.

    Args:
      made_by: the matrices [features, ...] that compute the node.
      read_by: those [outputs, features] that read it and whose own outputs stay where they are.
      anchor: the feature that stays is the `anchor`-th densest.
    """
    count = made_by[0].shape[0]
    density = sum(np.diff(matrix.indptr) for matrix in made_by)
    fixed = int(np.argsort(-density, kind="stable")[min(anchor, count - 1)])
    penalty = np.zeros((count, count))
    for matrix, sign in [*((matrix, 1) for matrix in made_by), *((matrix.T, -1) for matrix in read_by)]:
        modulus = _modulus(matrix.shape)
        features, others = matrix.tocoo().coords
        residues = np.zeros((count, modulus))
        residues[features, sign * others % modulus] = 1
        free = np.roll(residues[fixed], -sign * fixed)  # the diagonals that cost nothing
        placed = np.stack([np.roll(free, sign * place) for place in range(count)])
        penalty += residues @ (1 - placed.T)
    return np.argsort(linear_sum_assignment(penalty)[1])


def _diagonals(matrix: Any) -> int:
    rows, places = matrix.tocoo().coords
    return len(np.unique((places - rows) % _modulus(matrix.shape)))


def _modulus(shape: tuple[int, int]) -> int:
    return 1 << (min(shape) - 1).bit_length()
