"""What one node of an integer network costs: bytes of constants, and multiply-accumulates."""

from __future__ import annotations

import math
from typing import NamedTuple

from gecko_jax.integer.nodes import Add, Dense, IntegerTensor, Node, Requantize, Rescale, Threshold, Weighted


class PayloadBytes(NamedTuple):
    """The bytes of constants.

    Attributes:
      weights: codes, packed at their bits, each node's rounded up to bytes.
      biases: 4 bytes for each output that is rescaled.
      multipliers: 5 bytes for each factor: a multiplier and a shift.
      thresholds: 4 bytes for each output of one bit.
    """

    weights: int
    biases: int
    multipliers: int
    thresholds: int

    @property
    def total(self) -> int:
        """Bytes in all."""
        return sum(self)


def payload(node: Node) -> PayloadBytes:
    """Counts the bytes of a node's constants.

    Args:
      node: of a graph.
    """
    weights = biases = factors = thresholds = 0
    if isinstance(node, Weighted):
        weights = -(-node.weights.size * node.weight_bits // 8)
        biases = node.bias.size if isinstance(node.stage, Rescale) else 0
    if isinstance(node, Add):
        factors = len(node.multipliers)
    if isinstance(node, (Weighted, Add, Requantize)):
        stage = node.stage
        factors += stage.multipliers.size if isinstance(stage, Rescale) else 0
        thresholds = 0 if isinstance(stage, Rescale) else stage.values.size
    if isinstance(node, Threshold):
        thresholds = node.values.size
    return PayloadBytes(weights, 4 * biases, 5 * factors, 4 * thresholds)


def node_macs(node: Node, output: IntegerTensor) -> int:
    """Counts the multiply-accumulates of a node for one example, those with the border among them.

    Args:
      node: of a graph.
      output: the tensor that it writes.
    """
    if not isinstance(node, Weighted):
        return 0
    return node.weights.size if isinstance(node, Dense) else math.prod(output.shape[:2]) * node.weights.size
