"""The order and the packing of weights in C."""

from __future__ import annotations

import numpy as np

from gecko_jax.integer.nodes import Depthwise, Weighted


def is_binary(node: Weighted, input_bits: int) -> bool:
    """Whether a node multiplies bits by bits, which XOR and counting do."""
    return node.weight_bits == 1 and input_bits == 1 and not isinstance(node, Depthwise)


def storage_bits(node: Weighted) -> int:
    """Returns the bits that a weight takes in C: 1, 2, 4 or 8, the fewest that hold the node's bits and its codes.

    Raises:
      ValueError: weights of one bit that are neither -1 nor +1.
    """
    low, high = int(node.weights.min(initial=0)), int(node.weights.max(initial=0))
    if node.weight_bits == 1:
        if not np.isin(node.weights, (-1, 1)).all():
            raise ValueError(f"{node.label} has 1-bit weights with codes {low} to {high}; expected -1 and +1 alone.")
        return 1
    return next(bits for bits in (2, 4, 8) if bits >= min(node.weight_bits, 8) and fits(low, high, bits))


def fits(low: int, high: int, bits: int) -> bool:
    """Whether both codes are two's complement numbers of that width.

    >>> fits(-2, 1, 2), fits(-1, 2, 2)
    (True, False)
    """
    return -(2 ** (bits - 1)) <= low and high < 2 ** (bits - 1)


def rows(node: Weighted) -> np.ndarray:
    """Returns the codes in the order in which C reads them: [outputs, taps], of a depthwise layer [taps, outputs]."""
    flat = node.weights.reshape(-1, node.weights.shape[-1])
    return flat if isinstance(node, Depthwise) else np.ascontiguousarray(flat.T)


def packed(codes: np.ndarray, bits: int) -> np.ndarray:
    """Packs codes one after another, the first in the lowest bits; the last byte is filled up with zeros.

    Args:
      codes: int8.
      bits: 1 (-1 becomes 0), 2, 4 or 8.

    Returns:
      uint8, of 8 bits int8.

    >>> packed(np.array([1, -1, 0, -2, 1], np.int8), 2).tolist()
    [141, 1]
    """
    codes = codes.reshape(-1)
    if bits == 8:
        return codes
    numbers = (codes > 0) if bits == 1 else codes & (2**bits - 1)
    digits = (numbers[:, None].astype(np.uint8) >> np.arange(bits, dtype=np.uint8)[None]) & 1
    return np.packbits(digits.reshape(-1), bitorder="little")


def packed_words(codes: np.ndarray) -> np.ndarray:
    """Packs the signs of each row of codes [outputs, taps] in uint32 words, the first in the lowest bit.

    >>> packed_words(np.array([[1, -1, 1], [-1, -1, 1]], np.int8)).tolist()
    [5, 4]
    """
    padded = np.pad(codes > 0, ((0, 0), (0, -codes.shape[1] % 32)))
    return np.packbits(padded, axis=1, bitorder="little").reshape(-1).view("<u4")
