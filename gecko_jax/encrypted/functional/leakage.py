"""What a server learns of inputs whose inner products with a layer's rows it may decrypt.

Functional encryption hides everything but W x. So W x leaks, on purpose: the input's projection on the space of W's
rows, whose dimension is W's rank, in full precision. That is a lower bound. Inputs on a small grid are few, and W x may
tell more of them apart than its rank suggests: compare the bits that it can hold with the bits of the input.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gecko_jax.encrypted.functional.quantized_layer import QuantizedLayer
from gecko_jax.types import Array, Estimate


class Leakage(NamedTuple):
    """What the decrypted results of a layer give away.

    Attributes:
      inputs: length of the input.
      rank: of the layer's matrix: dimensions of the input that are known exactly, counted.
      result_bits: bits that the results of one input can hold, counted.
      input_bits: bits that one input can hold if its numbers fill the grid evenly, counted; those of data are fewer.
      recovered: the share of the examples' variance that lies in those dimensions, so that a linear map recovers it
        without knowing the data; measured, None without examples.

    >>> print(Leakage(64, 32, Estimate(300.0, kind="counted"), Estimate(262.0, kind="counted"), Estimate(0.7)))
    The server learns 32 of the input's 64 dimensions exactly (rank of the layer's matrix, counted).
    They hold 70.0 % of these examples' variance (measured).
    The results hold up to 300 bits, an input 262: they probably determine it, and the rank understates the leakage.
    """

    inputs: int
    rank: int
    result_bits: Estimate
    input_bits: Estimate
    recovered: Estimate | None

    def __str__(self) -> str:
        """Returns what leaks, in two or three sentences."""
        results, grid = self.result_bits.value, self.input_bits.value
        verdict = (
            "they probably determine it, and the rank understates the leakage"
            if results >= grid
            else "they do not tell all of the grid apart, but real inputs hold fewer bits, and may be determined"
        )
        lines = [
            f"The server learns {self.rank:,} of the input's {self.inputs:,} dimensions exactly "
            "(rank of the layer's matrix, counted)."
        ]
        if self.recovered is not None:
            lines.append(f"They hold {100 * self.recovered.value:.1f} % of these examples' variance (measured).")
        return "\n".join([*lines, f"The results hold up to {results:,.0f} bits, an input {grid:,.0f}: {verdict}."])


def measure_leakage(layer: QuantizedLayer, x: Array | None = None) -> Leakage:
    """Measures what the results of a layer give away of its inputs.

    Args:
      layer: the quantized layer.
      x: examples [b, *input_shape] to measure the recovered variance on, or None.

    Returns:
      A Leakage; print it.

    Raises:
      ValueError: inputs of another shape or beyond the bound.

    >>> layer = QuantizedLayer(np.array([[1, 0], [2, 0]]), np.ones(2), np.zeros(2), 1.0, 3, None)
    >>> measure_leakage(layer).rank
    1
    """
    rank = int(np.linalg.matrix_rank(layer.weights.astype(np.float64)))
    recovered = None
    if x is not None:
        codes = layer.quantize(x).astype(np.float64)
        centered = codes - codes.mean(0, keepdims=True)
        _, sizes, rows = np.linalg.svd(layer.weights.astype(np.float64), full_matrices=False)
        projected = centered @ rows[:rank].T
        total = float((centered**2).sum())
        recovered = Estimate(float((projected**2).sum()) / total if total else 1.0, n=len(codes))
    return Leakage(
        layer.weights.shape[1],
        rank,
        Estimate(float(np.log2(2 * layer.bounds() + 1).sum()), kind="counted"),
        Estimate(layer.weights.shape[1] * float(np.log2(2 * layer.input_levels + 1)), kind="counted"),
        recovered,
    )
