"""What both parties know of a circuit (its layout), and what the server alone knows (its weights in the ring)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array, vstack

from gecko_jax.encrypted.circuit import Affine, Circuit, Product
from gecko_jax.encrypted.two_party.fixed_point import WORD_BYTES, encode
from gecko_jax.encrypted.two_party.nodes import Clamp, Relu

DEFAULT_BITS = 13, 16  # after the point, of values and of weights
MAX_MATRIX_BYTES = 2**29  # of one secret matrix: the dealer, both parties and their triples hold some eight like it


class Step(NamedTuple):
    """An affine map of earlier nodes and what follows it; public.

    Attributes:
      name: for messages and tables.
      kind: "square", "product", "clamp", "relu" or "output".
      sources: numbers of the nodes that the map reads.
      widths: their lengths.
      outputs: length of the map's result; both factors of a product, one behind the other.
    """

    name: str
    kind: str
    sources: tuple[int, ...]
    widths: tuple[int, ...]
    outputs: int

    @property
    def comparisons(self) -> int:
        """Comparisons of each number."""
        return {"clamp": 2, "relu": 1}.get(self.kind, 0)

    @property
    def nodes(self) -> int:
        """Length of the node that the step computes."""
        return self.outputs // 2 if self.kind == "product" else self.outputs


class Layout(NamedTuple):
    """A circuit without its numbers; public.

    Attributes:
      inputs: length of node 0.
      steps: of the products, and of the output.
      bits: fractional bits of values and of weights.
      public_weights: whether both parties know the weights.
    """

    inputs: int
    steps: tuple[Step, ...]
    bits: tuple[int, int]
    public_weights: bool


class StepWeights(NamedTuple):
    """The numbers of one step's affine map, in the ring.

    Attributes:
      matrices: one a source: uint64 [n_k, outputs] if they are secret, else a csr_array [outputs, n_k].
      bias: uint64 [outputs] with the fractional bits of a value times a weight.
    """

    matrices: tuple[Any, ...]
    bias: np.ndarray


def stacked(product: Product | Clamp | Relu) -> Affine:
    """Returns both factors of a product as one map, the right one behind the left."""
    left, right = product.left, product.right if isinstance(product, Product) else None
    if right is None:
        return left
    nodes = sorted({*left.terms, *right.terms})

    def both(node: int):
        width = next(affine.terms[node].shape[1] for affine in (left, right) if node in affine.terms)
        parts = [affine.terms.get(node, csr_array((len(affine.bias), width))) for affine in (left, right)]
        return csr_array(vstack(parts))

    return Affine({node: both(node) for node in nodes}, np.concatenate([left.bias, right.bias]))


def kind(product: Product | Clamp | Relu) -> str:
    """Returns the name of what a step does with its map's result."""
    if not isinstance(product, Product):
        return "clamp" if isinstance(product, Clamp) else "relu"
    return "square" if product.right is None else "product"


def maps(circuit: Circuit) -> list[tuple[str, str, Affine]]:
    """Returns (name, kind, map) of every step, in order; the output is the last."""
    steps = [
        (f"{number} {circuit.layers[number].removeprefix('layer ')}".strip(), kind(product), stacked(product))
        for number, product in enumerate(circuit.products, 1)
    ]
    return [*steps, ("output", "output", circuit.output)]


def lay_out(circuit: Circuit, bits: tuple[int, int] = DEFAULT_BITS, public_weights: bool = False) -> Layout:
    """Returns what both parties know of a circuit.

    Args:
      circuit: of products, clamps and ReLUs.
      bits: fractional bits of values and of weights.
      public_weights: whether both parties know the weights.

    Raises:
      ValueError: a secret matrix too large to be shared as a dense one.
    """
    steps = []
    for name, what, affine in maps(circuit):
        outputs, widths = len(affine.bias), tuple(int(matrix.shape[1]) for matrix in affine.terms.values())
        for width in widths:
            if not public_weights and (size := WORD_BYTES * width * outputs) > MAX_MATRIX_BYTES:
                raise ValueError(
                    f"step {name} has a matrix of {outputs:,} x {width:,} secret weights, {size / 2**20:,.0f} MiB; "
                    f"at most {MAX_MATRIX_BYTES / 2**20:,.0f} MiB are shared, zeros included, because their places are "
                    "secret, too. Use public_weights=True, or a smaller layer."
                )
        steps.append(Step(name, what, tuple(affine.terms), widths, outputs))
    inputs = int(np.prod(circuit.input_shape, dtype=np.int64))
    return Layout(inputs, tuple(steps), bits, public_weights)


def encode_weights(circuit: Circuit, layout: Layout) -> list[StepWeights]:
    """Encodes a circuit's weights in the ring.

    Args:
      circuit: the circuit.
      layout: of it.

    Raises:
      ValueError: a weight that is not finite or that the ring cannot hold.
    """
    weights = []
    for step, (_, _, affine) in zip(layout.steps, maps(circuit), strict=True):
        matrices = []
        for matrix in affine.terms.values():
            sparse = csr_array(matrix)
            ring = encode(f"the weights of step {step.name}", sparse.data, layout.bits[1])
            encoded = csr_array((ring, sparse.indices, sparse.indptr), sparse.shape)
            matrices.append(encoded if layout.public_weights else np.ascontiguousarray(encoded.toarray().T))
        bias = encode(f"the bias of step {step.name}", affine.bias, sum(layout.bits))
        weights.append(StepWeights(tuple(matrices), bias))
    return weights
