"""How far the values of a circuit go: measured on data, and bounded over a box of inputs by interval arithmetic.

A ciphertext holds the input, both factors of each product, the product, and the output. Each must stay within the
headroom of its ciphertext; what leaves it comes back as another number.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gecko_jax import checks
from gecko_jax.encrypted.circuit import Affine, Circuit, apply_affine, node_values
from gecko_jax.types import Array

ROWS_AT_ONCE = 256
ROUNDING = 1e-9  # by which bounds are widened, relatively: far above what float64 rounds away


def value_names(circuit: Circuit) -> tuple[str, ...]:
    """Names the values that ciphertexts hold: input, factors and value of each product, output.

    Args:
      circuit: of a network.

    >>> from scipy.sparse import csr_array
    >>> from gecko_jax.encrypted import Product
    >>> same = Affine({0: csr_array(np.eye(2))}, np.zeros(2))
    >>> value_names(Circuit((2,), (2,), (Product(same, None),), same, ("input", "the layer 'a'")))
    ('input', "the layer 'a', before the square", "the layer 'a'", 'output')
    """
    names = [circuit.layers[0]]
    for layer, (_, right) in zip(circuit.layers[1:], circuit.products, strict=True):
        factors = ("before the square",) if right is None else ("left factor", "right factor")
        names += [*(f"{layer}, {factor}" for factor in factors), layer]
    return (*names, "output")


def largest_values(circuit: Circuit, x: Array) -> np.ndarray:
    """Measures the largest absolute value of each of `value_names` on data.

    Args:
      circuit: of a network.
      x: inputs [b, *input_shape].

    Returns:
      [values] float64; infinite for a value that overflows.

    Raises:
      ValueError: no rows, or rows of another shape.

    >>> from scipy.sparse import csr_array
    >>> from gecko_jax.encrypted import Product
    >>> same = Affine({0: csr_array(np.eye(2))}, np.zeros(2))
    >>> circuit = Circuit((2,), (2,), (Product(same, None),), same, ("input", "a"))
    >>> largest_values(circuit, np.array([[-3.0, 2.0]])).tolist()
    [3.0, 3.0, 9.0, 3.0]
    """
    x = np.asarray(checks.unmasked("x", checks.not_empty("x", x)))
    largest = np.zeros(len(value_names(circuit)))
    with np.errstate(over="ignore", invalid="ignore"):
        for first in range(0, len(x), ROWS_AT_ONCE):
            values = _values(circuit, node_values(circuit, x[first : first + ROWS_AT_ONCE]))
            largest = np.maximum(
                largest, [np.nan_to_num(np.abs(each), nan=np.inf, posinf=np.inf).max() for each in values]
            )
    return largest


def interval_bounds(circuit: Circuit, low: Array, high: Array) -> np.ndarray:
    """Bounds the absolute value of each of `value_names` for all inputs in a box.

    Sound: no input in the box exceeds it. Loose from the second product on, because intervals forget that the numbers
    they bound come from one input.

    Args:
      circuit: of a network.
      low, high: numbers, or arrays of the input's shape: the box.

    Returns:
      [values] float64; infinite for a bound that overflows.

    Raises:
      ValueError: a box whose low is above its high, or of another shape.

    >>> from scipy.sparse import csr_array
    >>> from gecko_jax.encrypted import Product
    >>> total = Affine({0: csr_array(np.ones((1, 2)))}, np.zeros(1))
    >>> interval_bounds(Circuit((2,), (1,), (Product(total, None),), total, ("input", "a")), -1, 2).round(3).tolist()
    [2.0, 4.0, 16.0, 4.0]
    """
    low, high = flat_box(circuit, low, high)
    nodes = [((high + low) / 2, (high - low) / 2)]  # center and radius
    bounds = [np.maximum(np.abs(low), np.abs(high)).max()]
    with np.errstate(over="ignore", invalid="ignore"):
        for left, right in circuit.products:
            factors = [_interval(side, nodes) for side in (left, right) if side is not None]
            product = _square(*factors[0]) if right is None else _product(*factors)
            nodes.append(product)
            bounds += [_bound(*each) for each in (*factors, product)]
        bounds.append(_bound(*_interval(circuit.output, nodes)))
    return np.nan_to_num(np.array(bounds), nan=np.inf, posinf=np.inf)


def flat_box(circuit: Circuit, low: Array | float, high: Array | float) -> tuple[np.ndarray, np.ndarray]:
    """Returns a box's corners, each [features], after a check.

    Args:
      circuit: of a network.
      low, high: finite numbers, or arrays of the input's shape.

    >>> from scipy.sparse import csr_array
    >>> flat_box(Circuit((2,), (2,), (), Affine({0: csr_array(np.eye(2))}, np.zeros(2)), ("input",)), 0, 1)[1].tolist()
    [1.0, 1.0]
    """
    corners = []
    for name, corner in (("low", low), ("high", high)):
        if np.ndim(corner) and np.shape(corner) != circuit.input_shape:
            raise ValueError(f"{name} has shape {np.shape(corner)}; expected a number, or {circuit.input_shape}.")
        corners.append(np.broadcast_to(np.asarray(corner, np.float64), circuit.input_shape).ravel())
        checks.finite(name, corners[-1])
    if not np.all(corners[0] <= corners[1]):
        raise ValueError(f"low={low!r} must not be above high={high!r}, in any entry.")
    return corners[0], corners[1]


def _values(circuit: Circuit, nodes: list[np.ndarray]) -> Iterator[np.ndarray]:
    yield nodes[0]
    for node, product in zip(nodes[1:], circuit.products, strict=True):
        yield from (apply_affine(side, nodes) for side in product if side is not None)
        yield node
    yield apply_affine(circuit.output, nodes)


Interval = tuple[np.ndarray, np.ndarray]  # center and radius


def _interval(affine: Affine, nodes: list[Interval]) -> Interval:
    center, radius = affine.bias.copy(), np.zeros_like(affine.bias)
    for node, matrix in affine.terms.items():
        size = abs(matrix)
        center += matrix @ nodes[node][0]
        radius += size @ (nodes[node][1] + ROUNDING * np.abs(nodes[node][0]))
    return center, radius * (1 + ROUNDING)


def _square(center: np.ndarray, radius: np.ndarray) -> Interval:
    high = (np.abs(center) + radius) ** 2
    low = np.maximum(np.abs(center) - radius, 0) ** 2
    return (high + low) / 2, (high - low) / 2


def _product(left: Interval, right: Interval) -> Interval:
    corners = [(left[0] + i * left[1]) * (right[0] + j * right[1]) for i in (-1, 1) for j in (-1, 1)]
    low, high = np.minimum.reduce(corners), np.maximum.reduce(corners)
    return (high + low) / 2, (high - low) / 2


def _bound(center: np.ndarray, radius: np.ndarray) -> float:
    return float(np.max((np.abs(center) + radius) * (1 + ROUNDING)))
