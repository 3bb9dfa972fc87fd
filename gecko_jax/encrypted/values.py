"""What a value of the network is while its circuit is built: a polynomial, elementwise, over an affine map of nodes.

`a * x * x + b * x` is several steps of the program and one polynomial (0, b, a) over x: it becomes one product, and
only if something other than elementwise arithmetic reads it. A scaled or shifted x is a base of its own that remembers
x, so that the branches of one activation meet over a common base again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from gecko_jax.encrypted.circuit import Affine


class Base:
    """An affine map that polynomials are over.

    Attributes:
      size: how many numbers it has.
      parent, scale, shift: this base is scale * parent + shift, elementwise; parent is None for a base of its own.
    """

    def __init__(self, affine: Affine | None, size: int, parent: Base | None = None, scale: Any = 1, shift: Any = 0):
        self.size, self.parent, self.scale, self.shift = size, parent, scale, shift
        self._affine = affine

    @property
    def affine(self) -> Affine:
        """Returns the map, which is computed when it is first read."""
        if self._affine is None:
            assert self.parent is not None
            self._affine = scaled(self.parent.affine, self.scale, self.shift)
        return self._affine


class Value:
    """A polynomial over a base: the sum over k of coefficients[k] * base^k, elementwise.

    Attributes:
      base: what it is over.
      coefficients: at least two arrays [size], the last not all zero.
      shape: of the value; its size is the base's.
      affine: the value as an affine map of nodes, once something has asked for it.
      layer: the name of the layer that computes it.
    """

    def __init__(self, base: Base, coefficients: Sequence[np.ndarray], shape: tuple[int, ...]):
        self.base, self.coefficients, self.shape = base, tuple(coefficients), shape
        self.affine: Affine | None = None
        self.layer = ""

    @property
    def degree(self) -> int:
        """Returns the degree over the base."""
        return len(self.coefficients) - 1


class NotPolynomial:
    """A value that is not a polynomial of the input, and the message that says so if the output depends on it."""

    def __init__(self, message: str):
        self.message = message


def over(affine: Affine, shape: tuple[int, ...]) -> Value:
    """Returns an affine map as a value."""
    size = len(affine.bias)
    value = Value(Base(affine, size), (np.zeros(size), np.ones(size)), shape)
    value.affine = affine
    return value


def constant_or_value(affine: Affine, shape: tuple[int, ...]) -> Value | np.ndarray:
    """Returns an affine map as a value; as an array if it reads no node."""
    return over(affine, shape) if affine.terms else affine.bias.reshape(shape)


def polynomial(base: Base, coefficients: Sequence[np.ndarray], shape: tuple[int, ...]) -> Value | np.ndarray:
    """Returns a polynomial over a base: a constant array if it is one, a base of its own if its degree is 1."""
    coefficients = list(coefficients)
    while len(coefficients) > 1 and not np.any(coefficients[-1]):
        coefficients.pop()
    if len(coefficients) == 1:
        return coefficients[0].reshape(shape)
    if len(coefficients) == 2 and not (np.all(coefficients[1] == 1) and not np.any(coefficients[0])):
        shift, scale = coefficients
        base = Base(None, base.size, base, scale, shift)
        coefficients = [np.zeros(base.size), np.ones(base.size)]
    return Value(base, coefficients, shape)


def plus(left: Value, right: Value) -> Value | np.ndarray | None:
    """Returns the sum of two values over a common base; None if they have none."""
    common = _over_common_base(left, right)
    if common is None:
        return None
    base, a, b = common
    count = max(len(a), len(b))
    a, b = ([*each, *[np.zeros(base.size)] * (count - len(each))] for each in (a, b))
    return polynomial(base, [x + y for x, y in zip(a, b, strict=True)], left.shape)


def times(left: Value, right: Value) -> Value | np.ndarray | None:
    """Returns the product of two values over a common base; None if they have none."""
    common = _over_common_base(left, right)
    if common is None:
        return None
    base, a, b = common
    return polynomial(base, _convolved(a, b), left.shape)


def square(value: Value) -> Value | np.ndarray:
    """Returns the square of a value."""
    return polynomial(value.base, _convolved(value.coefficients, value.coefficients), value.shape)


def scaled(affine: Affine, scale: Any, shift: Any = 0) -> Affine:
    """Returns scale * affine + shift, elementwise."""
    scale = np.broadcast_to(np.asarray(scale, np.float64), affine.bias.shape)
    terms = {node: _without_zeros(sparse.diags_array(scale) @ matrix) for node, matrix in affine.terms.items()}
    return Affine({node: matrix for node, matrix in terms.items() if matrix.nnz}, affine.bias * scale + shift)


def added(left: Affine, right: Affine) -> Affine:
    """Returns the sum of two affine maps."""
    terms = dict(left.terms)
    for node, matrix in right.terms.items():
        terms[node] = _without_zeros(terms[node] + matrix) if node in terms else matrix
    return Affine({node: matrix for node, matrix in terms.items() if matrix.nnz}, left.bias + right.bias)


def mapped(matrix: Any, affine: Affine) -> Affine:
    """Returns matrix @ affine."""
    terms = {node: _without_zeros(matrix @ each) for node, each in affine.terms.items()}
    return Affine({node: each for node, each in terms.items() if each.nnz}, matrix @ affine.bias)


def stacked(maps: Sequence[Affine]) -> Affine:
    """Returns one affine map whose outputs are those of several, one after another."""
    terms = {}
    for node in sorted({node for each in maps for node in each.terms}):
        width = next(each.terms[node].shape[1] for each in maps if node in each.terms)
        rows = [each.terms.get(node, sparse.csr_array((len(each.bias), width))) for each in maps]
        terms[node] = sparse.csr_array(sparse.vstack(rows, "csr"))
    return Affine(terms, np.concatenate([each.bias for each in maps]))


def rows_of(affine: Affine, index: np.ndarray) -> Affine:
    """Returns the outputs of an affine map at the places `index`."""
    terms = {node: sparse.csr_array(matrix[index]) for node, matrix in affine.terms.items()}
    return Affine({node: matrix for node, matrix in terms.items() if matrix.nnz}, affine.bias[index])


def equal(left: Affine, right: Affine) -> bool:
    """Tells whether two affine maps are the same."""
    if left is right:
        return True
    if left.terms.keys() != right.terms.keys() or not np.array_equal(left.bias, right.bias):
        return False
    return all((left.terms[node] != right.terms[node]).nnz == 0 for node in left.terms)


def _over_common_base(left: Value, right: Value) -> tuple[Base, list[np.ndarray], list[np.ndarray]] | None:
    """Returns the nearest base that both descend from, and the coefficients of both over it."""
    ancestors = {}
    base: Base | None = left.base
    coefficients = list(left.coefficients)
    while base is not None:
        ancestors[base] = coefficients
        base, coefficients = base.parent, _substituted(coefficients, base)
    base, coefficients = right.base, list(right.coefficients)
    while base is not None and base not in ancestors:
        base, coefficients = base.parent, _substituted(coefficients, base)
    return None if base is None else (base, ancestors[base], coefficients)


def _substituted(coefficients: list[np.ndarray], base: Base) -> list[np.ndarray]:
    """Returns the coefficients over the base's parent: Horner's scheme at scale * parent + shift."""
    if base.parent is None:
        return coefficients
    inner = [np.broadcast_to(base.shift, base.size), np.broadcast_to(base.scale, base.size)]
    result = [coefficients[-1]]
    for coefficient in coefficients[-2::-1]:
        result = _convolved(result, inner)
        result[0] = result[0] + coefficient
    return result


def _convolved(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> list[np.ndarray]:
    result = [np.zeros_like(a[0], np.float64) for _ in range(len(a) + len(b) - 1)]
    for i, left in enumerate(a):
        for j, right in enumerate(b):
            result[i + j] = result[i + j] + left * right
    return result


def _without_zeros(matrix: Any) -> Any:
    matrix = sparse.csr_array(matrix)
    matrix.eliminate_zeros()
    return matrix
