"""Nodes that two parties can compute and encryption cannot: SecureML's clamp(x + 1/2, 0, 1), and the ReLU."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gecko_jax.encrypted.circuit import Affine, Circuit, apply_affine, flat_rows
from gecko_jax.encrypted.extraction import compare, follow
from gecko_jax.encrypted.interpreter import Interpreter
from gecko_jax.encrypted.refusals import place_of
from gecko_jax.encrypted.values import Value, added, over, scaled
from gecko_jax.programs import Step
from gecko_jax.types import Array, Model, Variables


class Clamp(NamedTuple):
    """SecureML's activation clamp(x + 1/2, 0, 1), elementwise: a node of a circuit beside its products.

    Attributes:
      left: the map whose values are clamped. A second field would let it pass for a square.
    """

    left: Affine


class Relu(NamedTuple):
    """max(x, 0), elementwise: a node of a circuit beside its products.

    Attributes:
      left: the map whose negative values become 0.
    """

    left: Affine


def compared(node: Clamp | Relu, left: np.ndarray) -> np.ndarray:
    """Returns the values of a clamp or a ReLU.

    Args:
      node: the clamp or the ReLU.
      left: values of its map.
    """
    return np.clip(left + 0.5, 0, 1) if isinstance(node, Clamp) else np.maximum(left, 0)


class _Interpreter(Interpreter):
    """Reads lax.clamp between two constants, and maxima and minima of two numbers, as nodes, too."""

    def _polynomial(self, step: Step, inputs: list[Any]) -> list[Any] | None:
        place, shape = place_of(step.scope, self.kinds), tuple(step.avals[0].shape)
        if step.name in ("max", "min"):
            first, second = inputs if isinstance(inputs[0], Value) else reversed(inputs)
            if not isinstance(second, Value):
                second = np.broadcast_to(second, shape)
            first, second = self._affine(first), self._affine(second)
            excess = self._node(Relu(added(first, scaled(second, -1.0, 0.0))), place)
            result = added(second, excess) if step.name == "max" else added(first, scaled(excess, -1.0, 0.0))
            return [over(result, shape)]
        if step.name != "clamp":
            return super()._polynomial(step, inputs)
        low, value, high = inputs
        if isinstance(low, Value) or isinstance(high, Value) or not np.all(np.asarray(high) > np.asarray(low)):
            return None
        low, high = (np.broadcast_to(np.asarray(end, np.float64), shape).ravel() for end in (low, high))
        size = high - low
        node = self._node(Clamp(scaled(self._affine(value), 1 / size, -low / size - 0.5)), place)
        return [over(scaled(node, size, low), shape)]

    def _node(self, node: Clamp | Relu, place: str) -> Affine:
        return self.builder.append(node, place, compared(node, self.builder.values_of(node.left)))


def extract(model: Model, variables: Variables, x: Array) -> Circuit:
    """Extracts a network of linear layers, polynomials, ReLUs and clamps; without the latter as `encrypted.extract`.

    Args:
      model: such as one with activation="relu" or "clamp"; maxima and minima of two numbers, and jax.lax.clamp(low, x,
        high) between constants, are read. A max-pool is not: use average pools.
      variables: its variables.
      x: inputs [b, ...], floats; on up to 8 of its rows the circuit is compared with the model.

    Returns:
      A circuit of products, clamps and ReLUs, which this room alone can run: encryption computes products only.

    Raises:
      ValueError: see `encrypted.extract`.

    >>> import jax
    >>> from gecko_jax import models
    >>> model, x = models.create("mlp", 3, hidden=(4,), activation="clamp"), np.ones((2, 5), np.float32)
    >>> [type(node).__name__ for node in extract(model, model.init(jax.random.key(0), x), x).products]
    ['Clamp']
    """
    circuit = follow(model, variables, x, _Interpreter)
    compare(circuit, model, variables, x, evaluate)
    return circuit


def node_values(circuit: Circuit, x: Array) -> list[np.ndarray]:
    """Computes the values of all nodes in float64, clamps and ReLUs included.

    Args:
      circuit: of products, clamps and ReLUs.
      x: inputs [b, *input_shape].

    Returns:
      Values [b, n_k] of the nodes 0, 1, ..., and last the output [b, out].
    """
    nodes = [flat_rows("x", x, circuit.input_shape)]
    for product in circuit.products:
        left = apply_affine(product.left, nodes)
        if isinstance(product, (Clamp, Relu)):
            nodes.append(compared(product, left))
        else:
            nodes.append(left * (left if product.right is None else apply_affine(product.right, nodes)))
    return [*nodes, apply_affine(circuit.output, nodes)]


def evaluate(circuit: Circuit, x: Array) -> np.ndarray:
    """Computes the outputs of a circuit with clamps or ReLUs in float64.

    Args:
      circuit: of products, clamps and ReLUs.
      x: inputs [b, *input_shape], as of `encrypted.evaluate`, whose result and errors it has.

    >>> from scipy.sparse import csr_array
    >>> same = Affine({0: csr_array(np.eye(1))}, np.zeros(1))
    >>> circuit = Circuit((1,), (1,), (Clamp(same),), Affine({1: csr_array(np.eye(1))}, np.ones(1)), ("", ""))
    >>> evaluate(circuit, np.array([[-3.0], [0.25]])).tolist()
    [[1.0], [1.75]]
    """
    return node_values(circuit, x)[-1].reshape(len(x), *circuit.output_shape)
