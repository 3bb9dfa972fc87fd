"""How large the numbers of a circuit can become, and how likely a truncation is to fail for that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.encrypted.circuit import Affine, Circuit, real_rows
from gecko_jax.encrypted.two_party.fixed_point import failure_probability
from gecko_jax.encrypted.two_party.nodes import Clamp, Relu, node_values
from gecko_jax.types import Array


class Magnitudes(NamedTuple):
    """Bounds on absolute values.

    Attributes:
      nodes: float64 [n_k] of each node; the last is the output's.
      maps: sum over all results of affine maps of one example, each of which is truncated.
      products: the same sum over elementwise products.
    """

    nodes: list[np.ndarray]
    maps: float
    products: float


def bound_magnitudes(
    circuit: Circuit, input_bound: float, bits: tuple[int, int], node_bounds: Sequence[Array | float] | None = None
) -> Magnitudes:
    """Bounds every number that the protocol computes, by intervals around zero.

    Args:
      circuit: of products, clamps and ReLUs.
      input_bound: on the absolute value of every input.
      bits: fractional bits of values and of weights.
      node_bounds: one bound for each product's node, a number or [n_k], from a certificate or from data; it holds where
        it is narrower than the interval. None for intervals alone, which always hold, and are wide for deep circuits.
    """
    unit, weight_unit = (2.0**-each for each in bits)
    nodes = [np.full(int(np.prod(circuit.input_shape, dtype=np.int64)), float(input_bound))]
    maps = products = 0.0

    def reach(affine: Affine) -> np.ndarray:
        total = np.abs(affine.bias) + unit
        for node, matrix in affine.terms.items():
            # A stored coefficient is off by half a unit at most; one that is not stored is 0 in the ring, too.
            stored = abs(matrix) + (matrix != 0) * (weight_unit / 2)
            total = total + stored @ (nodes[node] + unit)
        return total

    for number, product in enumerate(circuit.products):
        left = reach(product.left)
        maps += float(left.sum())
        narrow = np.inf if node_bounds is None else np.asarray(node_bounds[number], np.float64)
        if isinstance(product, (Clamp, Relu)):
            nodes.append(np.minimum(left if isinstance(product, Relu) else np.ones_like(left), narrow))
            continue
        if product.right is None:
            left = right = np.minimum(left, np.sqrt(narrow) + unit)
        else:
            right = reach(product.right)
            maps += float(right.sum())
        products += float((left * right).sum())
        nodes.append(np.minimum(left * right, narrow))
    nodes.append(reach(circuit.output))
    return Magnitudes(nodes, maps + float(nodes[-1].sum()), products)


def observe_bounds(circuit: Circuit, calibration_x: Array, margin: float = 2.0) -> tuple[float, ...]:
    """Observes how large each product becomes on data, for `Settings.node_bounds`; other data may exceed it.

    Args:
      circuit: of products, clamps and ReLUs.
      calibration_x: inputs [b, *input_shape] like those to come.
      margin: a factor on the largest magnitude.

    Returns:
      A bound for each product.

    Raises:
      ValueError: inputs of another shape, a margin below 1.

    >>> from scipy.sparse import csr_array
    >>> from gecko_jax.encrypted.circuit import Product
    >>> same = Affine({0: csr_array(np.eye(1))}, np.zeros(1))
    >>> output = Affine({1: csr_array(np.eye(1))}, np.zeros(1))
    >>> observe_bounds(Circuit((1,), (1,), (Product(same, None),), output, ("input", "")), np.array([[3.0], [-1.0]]))
    (18.0,)
    """
    checks.at_least("margin", margin, 1)
    values = node_values(circuit, real_rows("calibration_x", calibration_x, circuit.input_shape))[1:-1]
    return tuple(margin * float(np.abs(value).max(initial=0)) for value in values)


def check_truncations(
    magnitudes: Magnitudes, batch: int, bits: tuple[int, int], max_failure_probability: float
) -> float:
    """Bounds the probability that any truncation of a run fails, and refuses one that is too large.

    Args:
      magnitudes: from `bound_magnitudes`.
      batch: examples of the run.
      bits: fractional bits of values and of weights.
      max_failure_probability: the largest that is accepted.

    Returns:
      The bound.

    Raises:
      ValueError: a larger bound.
    """
    probability = failure_probability(batch * magnitudes.maps, sum(bits))
    probability = min(1.0, probability + failure_probability(batch * magnitudes.products, 2 * bits[0]))
    if probability > max_failure_probability:
        largest = max(float(node.max(initial=0)) for node in magnitudes.nodes)
        raise ValueError(
            f"a truncation of the run fails with probability up to {probability:.2g}, and then an output is garbage; "
            f"max_failure_probability={max_failure_probability:.2g} is accepted. Values may reach {largest:.3g} and "
            f"carry {bits[0]} + {bits[1]} bits after the point. Take fewer of them or fewer examples, a smaller "
            "input_bound, weights that keep the values small, or, if the intervals are too wide, node_bounds from "
            "two_party.observe_bounds or from a range certificate."
        )
    return probability
