"""The factors that LiteRT and TFLM derive from a file's scales, compared with those of the integer network.

A .tflite file holds float32 scales and no multiplier: each interpreter computes the multipliers when it loads the file,
in double precision. A network whose own multipliers differ would be another network on the device.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gecko_jax.export.shifted_weights import shifted_weights
from gecko_jax.integer.fixed_point import quantize_multiplier
from gecko_jax.integer.nodes import Add, IntegerTensor, Requantize, Rescale, Weighted


def check_multipliers(node: Weighted | Requantize | Add, read: Sequence[IntegerTensor], written: IntegerTensor) -> None:
    """Checks that an interpreter of .tflite files rescales a node's sums as the integer network does.

    Args:
      node: whose stage is a `Rescale`.
      read: the tensors that it reads.
      written: the tensor that it writes.

    Raises:
      ValueError: other factors, or a factor that an interpreter has no place for.

    Source: tflite-micro, kernel_util.cc, PopulateConvolutionQuantizationParams; add_common.cc, CalculateOpDataAdd.
    """
    stage = node.stage
    assert isinstance(stage, Rescale)
    weights = shifted_weights(node) if isinstance(node, Weighted) else None
    if stage.left_shift and weights is None:
        raise ValueError(
            f"{node.label} reads codes of {read[0].bits} bits, and its sums are rounded more finely than LiteRT "
            "rounds them. Quantize inputs of layers to 8 bits, or export to C."
        )
    if isinstance(node, Add):
        twice = 2 * max(tensor.scale for tensor in read)
        expected = [quantize_multiplier(tensor.scale / twice) for tensor in read]
        _compare(node.path, list(zip(node.multipliers, node.shifts, strict=True)), expected)
        factors = [twice / (2.0**node.left_shift * written.scale)]
    elif isinstance(node, Requantize):
        factors = [read[0].scale / written.scale]
    else:
        factors = [read[0].scale * float(scale) / written.scale for scale in weights.scales] if weights else []
    pairs = np.stack(np.broadcast_arrays(stage.multipliers, stage.shifts), -1).tolist()
    _compare(node.path, pairs, [quantize_multiplier(factor) for factor in factors])


def _compare(path: str, own: Sequence, expected: Sequence[tuple[int, int]]) -> None:
    for channel, (a, b) in enumerate(zip(own, expected, strict=True)):
        if tuple(a) != tuple(b):
            raise ValueError(
                f"layer {path!r} multiplies sums of output {channel} by {tuple(a)} (multiplier, shift), and the "
                f"scales of its tensors give {tuple(b)}. Export to C, or put the factor into its weights."
            )
