"""Multiply-accumulates and bit operations by layer and by precision, counted in the traced program.

Counted for ONE example. Every product of matrices or convolution counts, also one that no layer owns: attention's two,
a bare `jnp.dot`. Positions in the padding count, and so do zeros among the weights. Elementwise work (normalization,
activations, pooling, an elementwise multiplication and a sum over it) does not count.
"""

from __future__ import annotations

from typing import NamedTuple

from gecko_jax.costs.precisions import FLOAT_BITS, Precisions
from gecko_jax.costs.program import Forward
from gecko_jax.models.trace import Call

OUTSIDE = "products outside layers"


class LayerOperations(NamedTuple):
    """One layer's work.

    Attributes:
      path, kind: which layer, and its Linen class.
      macs: multiply-accumulates for one example.
      weight_bits, input_bits: precision of the two factors; a float counts with the width of its type.

    >>> LayerOperations("dense1", "Dense", macs=1000, weight_bits=1, input_bits=8).bops
    8000
    """

    path: str
    kind: str
    macs: int
    weight_bits: int
    input_bits: int

    @property
    def bops(self) -> int:
        """Bit operations: MACs * weight bits * input bits (Baskin et al. 2018 without the accumulator's term)."""
        return self.macs * self.weight_bits * self.input_bits


def count_operations(forward: Forward, calls: list[Call], precisions: Precisions) -> tuple[LayerOperations, ...]:
    """Counts the work of each layer, in the order of the program, then that of products outside layers.

    The rows sum to all products of the program for one example. Rows of one layer at one precision are added up, so a
    layer that is called twice, or an LSTM's gates over all steps, has one row. A layer without a product (`nn.Embed`, a
    lookup) has a row of 0. A factor computed from parameters is the weight. A product of two factors that both depend
    on the input, or neither, is in the row "products outside layers".

    Args:
      forward: the forward pass of one example.
      calls: its layers, from `models.trace`.
      precisions: the precisions of its products.

    Raises:
      ValueError: a loop that ends on a condition, or a primitive with a rule of its own: their multiply-accumulates
        cannot be counted, and the total would be too small.
    """
    if forward.uncountable:
        raise ValueError(f"model: multiply-accumulates cannot be counted: {'; '.join(forward.uncountable)}.")
    totals: dict[tuple[str, str, int, int], int] = {}
    for product in (product for products in forward.products for product in products):
        if product.weights is None:
            path, kind = OUTSIDE, "-"
        else:
            path = precisions.layer(product)
            kind = forward.kinds.get(path, "-")
        row = (path, kind, *precisions.bits(product))
        totals[row] = totals.get(row, 0) + product.macs
    paths = list(dict.fromkeys(path for path, *_ in totals if path != OUTSIDE))
    before = 0
    for call in calls:
        if call.path not in paths:
            paths.insert(before, call.path)
            totals[call.path, call.kind, precisions.lookup_bits(call), FLOAT_BITS] = 0
        before = paths.index(call.path) + 1
    rows = [LayerOperations(path, kind, macs, *bits) for (path, kind, *bits), macs in totals.items()]
    return tuple(sorted(rows, key=lambda row: [*paths, OUTSIDE].index(row.path)))


def by_precision(layers: tuple[LayerOperations, ...]) -> dict[tuple[int, int], int]:
    """Sums the layers' MACs by precision, {(weight bits, input bits): MACs}, the widest first."""
    totals: dict[tuple[int, int], int] = {}
    for layer in layers:
        key = (layer.weight_bits, layer.input_bits)
        totals[key] = totals.get(key, 0) + layer.macs
    return dict(sorted(totals.items(), reverse=True))
