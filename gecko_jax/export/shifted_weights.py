"""Weights of few bits as int8, whose sums are as fine as the network's own."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gecko_jax.integer.nodes import Rescale, Weighted


class ShiftedWeights(NamedTuple):
    """Weights as codes * scale.

    Attributes:
      codes: int8, outputs last; the node's, times 2^left_shift of its stage.
      scales: float64 [outputs], each a float32 number; the node's, divided by the same.
    """

    codes: np.ndarray
    scales: np.ndarray


def shifted_weights(node: Weighted) -> ShiftedWeights | None:
    """Returns weights whose sums are those that the node rescales, in the unit of its bias; None if int8 is too small.

    Args:
      node: of any stage; thresholds read sums that are not shifted.
    """
    left = node.stage.left_shift if isinstance(node.stage, Rescale) else 0
    codes = node.weights.astype(np.int32) << left
    if codes.min(initial=0) < -128 or codes.max(initial=0) > 127:
        return None
    return ShiftedWeights(codes.astype(np.int8), node.weight_scales / 2.0**left)
