"""Builds a circuit's products: polynomials of one variable as few, shallow products, quadratics as one square."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from gecko_jax.encrypted.circuit import Affine, Product, apply_affine
from gecko_jax.encrypted.factoring import factored, without_rounding
from gecko_jax.encrypted.values import Base, Value, added, equal, over, scaled, square, times

# (s x + t)^2 - t^2 loses the digits by which the square exceeds its result; x (a x + b) loses none, and takes two maps.
MAX_CANCELLATION = 64.0
MAX_EXPANDED_DEGREE = 32  # of a product of polynomials over one variable; coefficients of higher degrees lose digits


class Builder:
    """Collects the products of a circuit.

    Args:
      x: [b, n] inputs that show how large values become.

    Attributes:
      products: so far.
      layers: names of the nodes so far, that of the input first.
    """

    def __init__(self, x: np.ndarray):
        self._values = [np.asarray(x, np.float64)]
        self.products: list[Product] = []
        self.layers: list[str] = ["input"]

    def affine(self, value: Value) -> Affine:
        """Returns a value as an affine map of nodes, with the products that it takes.

        Args:
          value: of the network.
        """
        if value.affine is None:
            value.affine = self._polynomial(value.base, value.coefficients, value.layer)
        return value.affine

    def multiply(self, left: Value, right: Value, layer: str) -> Value | np.ndarray:
        """Returns the elementwise product of two values of one shape.

        Args:
          left, right: the values.
          layer: the name of the layer that a product belongs to.
        """
        if min(left.degree, right.degree) > 1 and left.degree + right.degree > MAX_EXPANDED_DEGREE:
            self._close(left)
            self._close(right)
        product = times(left, right)
        if product is not None:
            return product
        factors = self.affine(left), self.affine(right)
        if equal(*factors):  # two copies of one map: a polynomial over it
            return square(over(factors[0], left.shape))
        return over(self._node(*factors, layer), left.shape)

    def _close(self, value: Value) -> None:
        """Makes a value a base of its own."""
        fresh = over(self.affine(value), value.shape)
        value.base, value.coefficients = fresh.base, fresh.coefficients

    def _node(self, left: Affine, right: Affine | None, layer: str) -> Affine:
        """Returns the map that reads a product, which is added unless it is there."""
        right = None if right is None or equal(left, right) else right
        number = next((i for i, each in enumerate(self.products, 1) if _same(each, Product(left, right))), None)
        if number is None:
            with np.errstate(over="ignore", invalid="ignore"):  # the comparison with the model refuses it
                factor = self.values_of(left)
                shown = factor * (factor if right is None else self.values_of(right))
            return self.append(Product(left, right), layer, shown)
        return _node_alone(number, len(left.bias))

    def values_of(self, affine: Affine) -> np.ndarray:
        """Returns the values [b, n] of a map on the inputs that show how large values become."""
        return apply_affine(affine, self._values)

    def append(self, node: Any, layer: str, values: np.ndarray) -> Affine:
        """Adds a node, and returns the map that reads it.

        Args:
          node: a product, or what another room computes in place of one.
          layer: the name of the layer that it belongs to.
          values: its values [b, n].
        """
        self.products.append(node)
        self.layers.append(layer)
        self._values.append(values)
        return _node_alone(len(self.products), values.shape[1])

    def _polynomial(self, base: Base, coefficients: Sequence[np.ndarray], layer: str) -> Affine:
        degree = len(coefficients) - 1
        if degree <= 1:
            return scaled(base.affine, coefficients[1] if degree else 0.0, coefficients[0])
        if degree == 2:
            return self._quadratic(base, coefficients, layer)
        radius = float(np.max(np.abs(self.values_of(base.affine)), initial=0.0)) or 1.0
        unit = Base(None, base.size, base, 1 / radius, 0.0)  # powers of what lies in -1..1 neither grow nor vanish
        return self._split(unit, [each * radius**k for k, each in enumerate(coefficients)], layer)

    def _quadratic(self, base: Base, coefficients: Sequence[np.ndarray], layer: str) -> Affine:
        """Returns a x^2 + b x + c as +-(s x + t)^2 + constant, s = sqrt|a|; as x (a x + b) + c if some |a| is tiny."""
        c, b, a = coefficients
        sign, s = np.where(a < 0, -1.0, 1.0), np.sqrt(np.abs(a))
        t = np.divide(sign * b, 2 * s, out=np.where(b == 0, 0.0, np.inf), where=s > 0)
        if self._cancellation(base, s, t) <= MAX_CANCELLATION:
            return scaled(self._node(scaled(base.affine, s, t), None, layer), sign, c - sign * t * t)
        return scaled(self._node(base.affine, scaled(base.affine, a, b), layer), 1.0, c)

    def _cancellation(self, base: Base, s: np.ndarray, t: np.ndarray) -> float:
        """Returns how many times larger (s x + t)^2 becomes than (s x + t)^2 - t^2, on the builder's inputs."""
        if not np.all(np.isfinite(t)):
            return np.inf
        with np.errstate(over="ignore", invalid="ignore"):
            square = (s[None] * apply_affine(base.affine, self._values) + t[None]) ** 2
            return float(np.max(square) / max(np.max(np.abs(square - t[None] ** 2)), np.finfo(np.float64).tiny))

    def _split(self, base: Base, coefficients: Sequence[np.ndarray], layer: str) -> Affine:
        """Returns a polynomial of degree 3 or more: low(x) + x^m high(x), in depth ceil(log2(degree)) or one more."""
        powers: dict[int, Affine] = {1: base.affine}

        def power(m: int) -> Affine:
            if m not in powers:
                half = 2 ** (m.bit_length() - 1) if m & (m - 1) else m // 2
                powers[m] = self._node(power(half), power(m - half), layer)
            return powers[m]

        def weighted(weights: np.ndarray) -> Affine:
            constant = Affine({}, np.full(base.size, weights[0]))
            return functools.reduce(added, [scaled(power(k), w) for k, w in enumerate(weights) if k and w], constant)

        if all(np.all(each == each[0]) for each in coefficients):
            line = without_rounding([each[0] for each in coefficients])
            line = np.trim_zeros(line, "b")
            factors = factored(line) if np.count_nonzero(line[1:]) > 1 and len(line) > 4 else None
            if factors is not None:
                return scaled(self._node(weighted(factors[0]), weighted(factors[1]), layer), 1.0, coefficients[0])
            coefficients = [np.full(base.size, each) for each in line]

        def build(part: Sequence[np.ndarray]) -> Affine:
            part = list(part)
            while len(part) > 1 and not np.any(part[-1]):
                part.pop()
            if len(part) > 2 and not any(np.any(each) for each in part[1:-1]):
                return scaled(power(len(part) - 1), part[-1], part[0])
            if len(part) <= 3:
                return self._polynomial(base, part, layer)
            if len(part) == 4:  # c + x (c1 + c2 x + c3 x^2): one term, where x^2 would be a second one
                return scaled(self._node(base.affine, build(part[1:]), layer), 1.0, part[0])
            m = 2 ** (int(np.ceil(np.log2(len(part) - 1))) - 1)
            low, high = build(part[:m]), build(part[m:])
            return added(self._node(power(m), high, layer) if high.terms else scaled(power(m), high.bias), low)

        return build(coefficients)


def _node_alone(number: int, size: int) -> Affine:
    return Affine({number: sparse.csr_array(sparse.eye_array(size))}, np.zeros(size))


def _same(one: Product, other: Product) -> bool:
    if not isinstance(one, Product) or (one.right is None) != (other.right is None) or not equal(one.left, other.left):
        return False
    return one.right is None or other.right is None or equal(one.right, other.right)
