"""The first layer of a circuit in integers, and the rest of it, which the server computes on what it may see."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from gecko_jax import checks
from gecko_jax.encrypted.circuit import Affine, Circuit, Product, apply_affine, flat_rows, node_values
from gecko_jax.quantizers import uniform
from gecko_jax.types import Array


class QuantizedLayer(NamedTuple):
    """A first layer whose products are integers, and what follows.

    Attributes:
      weights: int64 [outputs, inputs].
      weight_steps: float64 [outputs], the value of one unit of a row.
      bias: float64 [outputs].
      input_step: the value of one unit of an input.
      input_levels: the largest magnitude of an integer input.
      circuit: the circuit; the layer is the left map of its first product, or its output if it has no product.

    >>> from scipy.sparse import csr_array
    >>> output = Affine({0: csr_array(np.array([[1.0, -0.5]]))}, np.ones(1))
    >>> layer = quantize_first_layer(Circuit((2,), (1,), (), output, ("input",)), weight_bits=2, input_levels=4)
    >>> codes = layer.quantize(np.array([[1.0, 0.26]]))
    >>> codes.tolist(), layer.bounds().tolist(), layer.finish(codes @ layer.weights.T).tolist()
    ([[4, 1]], [4], [[2.0]])
    """

    weights: np.ndarray
    weight_steps: np.ndarray
    bias: np.ndarray
    input_step: float
    input_levels: int
    circuit: Circuit

    def quantize(self, x: Array) -> np.ndarray:
        """Rounds inputs to the grid.

        Args:
          x: [b, *input_shape], within the input bound.

        Returns:
          int64 [b, inputs].

        Raises:
          ValueError: inputs of another shape, not finite or beyond the bound.
        """
        codes = np.rint(checks.finite("x", flat_rows("x", x, self.circuit.input_shape)) / self.input_step)
        if (largest := np.abs(codes).max(initial=0)) > self.input_levels:
            bound = self.input_step * self.input_levels
            raise ValueError(
                f"x reaches {largest * self.input_step:.4g}, beyond input_bound={bound:.4g}. Clip it, or raise it."
            )
        return codes.astype(np.int64)

    def bounds(self) -> np.ndarray:
        """Returns int64 [outputs]: the largest magnitude that each of the layer's integer results can have."""
        return np.abs(self.weights).sum(1) * self.input_levels

    def finish(self, integers: np.ndarray) -> np.ndarray:
        """Computes the network's outputs from the layer's integer results, in float64.

        Args:
          integers: [b, outputs].

        Returns:
          [b, *output_shape].
        """
        values = integers * (self.weight_steps * self.input_step)[None] + self.bias[None]
        products = self.circuit.products
        if not products:
            return values.reshape(len(values), *self.circuit.output_shape)
        # The rest of the circuit reads the first node only, as if it were the input of a smaller circuit.
        rest = [product._replace(left=_shifted(product.left), right=product.right and _shifted(product.right))
                for product in products[1:]]  # fmt: skip
        smaller = Circuit((values.shape[1],), (), tuple(rest), _shifted(self.circuit.output), self.circuit.layers[1:])
        outputs = apply_affine(smaller.output, node_values(smaller, values**2))
        return outputs.reshape(len(values), *self.circuit.output_shape)


def _shifted(affine: Affine) -> Affine:
    return Affine({node - 1: matrix for node, matrix in affine.terms.items()}, affine.bias)


def quantize_first_layer(
    circuit: Circuit, weight_bits: int = 4, input_levels: int = 15, input_bound: float = 1.0
) -> QuantizedLayer:
    """Quantizes a circuit's first layer: weights by `quantizers.uniform`, one scale a row, and inputs to a grid.

    Args:
      circuit: whose first product is a square of a map of the input, which nothing else reads; or a single map.
      weight_bits: 2 to 8.
      input_levels: inputs become integers of at most this magnitude; 16 is exact for the digits data set.
      input_bound: the input's magnitude that becomes `input_levels`.

    Raises:
      ValueError: a circuit of another form, settings out of range.

    >>> from scipy.sparse import csr_array
    >>> circuit = Circuit((2,), (1,), (), Affine({0: csr_array(np.array([[0.7, -0.3]]))}, np.zeros(1)), ("input",))
    >>> quantize_first_layer(circuit, weight_bits=4).weights.tolist()
    [[7, -3]]
    """
    if not isinstance(circuit, Circuit) or not all(isinstance(product, Product) for product in circuit.products):
        raise ValueError("circuit must be a Circuit of products, from encrypted.extract(model, variables, x).")
    checks.integer("input_levels", input_levels, 1)
    checks.positive("input_bound", input_bound)
    first = circuit.products[0] if circuit.products else None
    layer = first.left if first is not None else circuit.output
    later = [circuit.output, *(side for product in circuit.products[1:] for side in product if side is not None)]
    if first is not None and (first.right is not None or any(0 in affine.terms for affine in later)):
        raise ValueError(
            f"layer {circuit.layers[1]!r} is not a square that alone reads the input. Inner-product encryption shows "
            "the server linear functions of the input and nothing else; use encrypted.compile or two_party.simulate."
        )
    if list(layer.terms) != [0]:
        raise ValueError("the first layer does not read the input; it is a constant, and there is nothing to encrypt.")
    codes = uniform(weight_bits).codes
    assert codes is not None
    coded = codes((), jnp.asarray(layer.terms[0].toarray().T, jnp.float32))
    scale = np.broadcast_to(np.asarray(coded.scale, np.float64), (1, len(layer.bias)))[0]
    weights = np.asarray(coded.values, np.int64).T
    return QuantizedLayer(weights, scale, layer.bias, input_bound / input_levels, input_levels, circuit)
