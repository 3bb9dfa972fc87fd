"""Elementwise sums, products and powers of values and constants."""

from __future__ import annotations

from typing import Any

import numpy as np

from gecko_jax.encrypted import values
from gecko_jax.encrypted.builder import Builder
from gecko_jax.encrypted.circuit import Affine
from gecko_jax.encrypted.linear_steps import numbered
from gecko_jax.encrypted.values import Value

ELEMENTWISE = ("add", "add_any", "sub", "mul", "div", "neg", "square", "integer_pow", "pow", "polynomial")


class Arithmetic:
    """Computes with values.

    Args:
      builder: collects the products.
      shape: of the result.
      layer: the name of the layer that computes it.
    """

    def __init__(self, builder: Builder, shape: tuple[int, ...], layer: str):
        self.builder, self.shape, self.layer = builder, shape, layer

    def result(self, name: str, inputs: list[Any], exponent: Any = None) -> Value | np.ndarray | None:
        """Returns the result of an elementwise primitive; None if it is not a polynomial.

        Args:
          name: of the primitive, one of ELEMENTWISE.
          inputs: its operands, at least one of them a Value.
          exponent: of "integer_pow".
        """
        if name == "neg":
            return self.times(inputs[0], -1.0)
        if name == "polynomial":  # JAX 0.12's: x and its coefficients, that of x^0 first
            return self._horner(*(self._expanded(each) for each in inputs))
        if name in ("square", "integer_pow", "pow"):
            exponent = {"square": 2, "integer_pow": exponent}.get(name, inputs[-1])
            return self._power(inputs[0], exponent)
        left, right = (self._expanded(each) for each in inputs)
        if name == "div":
            return None if isinstance(right, Value) else self.times(left, 1 / np.asarray(right, np.float64))
        if name == "mul":
            return self.times(left, right)
        return self.plus(left, self.times(right, -1.0) if name == "sub" else right)

    def plus(self, left: Any, right: Any) -> Value | np.ndarray:
        """Returns the sum of two values or constants."""
        if not isinstance(left, Value):
            left, right = right, left
        if not isinstance(left, Value):
            return np.asarray(left, np.float64) + right
        if not isinstance(right, Value):
            shifted = [left.coefficients[0] + self._flat(right), *left.coefficients[1:]]
            return values.polynomial(left.base, shifted, self.shape)
        total = values.plus(left, right)
        if total is not None:
            return total
        return values.constant_or_value(values.added(self.builder.affine(left), self.builder.affine(right)), self.shape)

    def times(self, left: Any, right: Any) -> Value | np.ndarray:
        """Returns the product of two values or constants."""
        if not isinstance(left, Value):
            left, right = right, left
        if not isinstance(left, Value):
            return np.asarray(left, np.float64) * right
        if not isinstance(right, Value):
            factor = self._flat(right)
            return values.polynomial(left.base, [each * factor for each in left.coefficients], left.shape)
        return self.builder.multiply(left, right, self.layer)

    def _horner(self, value: Any, *ascending: Any) -> Value | np.ndarray:
        result: Any = np.zeros(self.shape)
        for coefficient in reversed(ascending):
            result = self.plus(self.times(result, value), coefficient)
        return result

    def _power(self, value: Any, exponent: Any) -> Value | np.ndarray | None:
        if not isinstance(value, Value) or isinstance(exponent, Value) or np.unique(exponent).size != 1:
            return None
        count = float(np.ravel(exponent)[0])
        if count < 0 or count != int(count):
            return None
        result: Any = np.ones(self.shape)
        for _ in range(int(count)):
            result = self.times(result, value)
        return result

    def _expanded(self, value: Any) -> Any:
        """Returns a value repeated along axes of length 1."""
        if not isinstance(value, Value) or value.shape == self.shape:
            return value
        index = np.broadcast_to(numbered(value.shape), self.shape)
        return values.over(values.rows_of(self.builder.affine(value), index.ravel()), self.shape)

    def _flat(self, constant: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(constant, np.float64), self.shape).ravel()


def to_affine(builder: Builder, value: Any) -> Affine:
    """Returns a value or a constant as an affine map of nodes."""
    return builder.affine(value) if isinstance(value, Value) else Affine({}, np.asarray(value, np.float64).ravel())
