"""The nouns of an integer network: tensors of codes, and the nodes that compute one from others.

A code q of a tensor stands for the number scale * (q - zero_point). A sum of products is int32:

  sum[c] = bias[c] + 2^left_shift * sum over i of (q[i] - zero_point) * weights[i, c]

with left_shift 0 for weights and inputs of 8 bits. A stage turns it into the codes of the output: `Rescale`, or
`Thresholds` if the output is one bit.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import numpy as np

Pair = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class IntegerTensor:
    """The codes of one activation, stored as int8.

    Attributes:
      name: path of the layer that computes it, "input" for the network's input.
      shape: of one example, without the batch: (features,) or (height, width, channels).
      scale: of a code; a float32 number.
      zero_point: the code of 0.
      low, high: the smallest and the largest code; of one bit -1 and +1, which never take another value.
      bits: that a code needs: 1, or 2 to 8.
    """

    name: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int = 0
    low: int = -128
    high: int = 127
    bits: int = 8

    @property
    def size(self) -> int:
        """The number of codes of one example."""
        return math.prod(self.shape)


class Rescale(NamedTuple):
    """From a sum to a code: multiplied, rounded as gemmlowp does, moved to the output's zero point, and clipped.

    Attributes:
      multipliers: int32 [outputs], 2^30 to 2^31 - 1, or 0.
      shifts: int32 [outputs]; the factor is multiplier * 2^(shift - 31), and a positive shift is made first.
      low, high: the smallest and the largest code that come out: a ReLU is the zero point as `low`.
      left_shift: the products' sum is multiplied by 2^left_shift before the bias is added, so that the bias and the
        first of the two roundings are finer. 0 for weights and inputs of 8 bits, as in TensorFlow Lite. With inputs of
        8 bits, the weights times 2^left_shift fit int8, and give the same sums.
    """

    multipliers: np.ndarray
    shifts: np.ndarray
    low: int
    high: int
    left_shift: int = 0


class Thresholds(NamedTuple):
    """From a sum to one bit: +1 if the sum is at least its output's threshold, else -1.

    Attributes:
      values: int32 [outputs].
    """

    values: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
    """One step of an integer network.

    Attributes:
      path: of the layer in the model, "" for the network itself.
      inputs: numbers of the tensors that it reads.
      output: number of the tensor that it writes.
    """

    path: str
    inputs: tuple[int, ...]
    output: int

    @property
    def label(self) -> str:
        """What a message calls the node."""
        return f"layer {self.path!r}" if self.path else f"a step of the network itself ({type(self).__name__})"


@dataclasses.dataclass(frozen=True, eq=False)
class Weighted(Node):
    """A node with weights.

    Attributes:
      weights: int8 codes, outputs last.
      weight_scales: float64 [outputs], each a float32 number: the weight is code * scale.
      weight_bits: that a code needs: 1 (-1 and +1), 2 (ternary), 4, 8.
      bias: int32 [outputs], in units of input scale * weight scale / 2^left_shift; 0 if thresholds hold it.
      stage: from the sum to a code.
    """

    weights: np.ndarray
    weight_scales: np.ndarray
    weight_bits: int
    bias: np.ndarray
    stage: Rescale | Thresholds


@dataclasses.dataclass(frozen=True, eq=False)
class Dense(Weighted):
    """A product with weights [inputs, outputs] of an input of one axis."""


@dataclasses.dataclass(frozen=True, eq=False)
class Conv(Weighted):
    """A convolution with weights [height, width, inputs / groups, outputs].

    Attributes:
      strides, dilation: (vertical, horizontal).
      padding: ((top, bottom), (left, right)).
      pad_code: the code of the border: the input's zero point, or +1 for an input of one bit, which has no zero.
      groups: of channels; output c reads the inputs of group c // (outputs / groups).
    """

    strides: Pair
    padding: tuple[Pair, Pair]
    pad_code: int
    dilation: Pair
    groups: int


@dataclasses.dataclass(frozen=True, eq=False)
class Depthwise(Conv):
    """A convolution with as many groups as inputs, weights [height, width, 1, outputs]."""


@dataclasses.dataclass(frozen=True, eq=False)
class Add(Node):
    """The sum of two tensors of one shape, with both inputs brought to a common scale first.

      code = zero point + rescale(sum over k of rescale((q_k - zero_point_k) * 2^left_shift))

    Attributes:
      left_shift: 20, as in TensorFlow Lite.
      multipliers, shifts: of the two inputs.
      stage: from their sum to a code; arrays of one number.
    """

    left_shift: int
    multipliers: Pair
    shifts: Pair
    stage: Rescale


@dataclasses.dataclass(frozen=True, eq=False)
class MaxPool(Node):
    """The largest code in each window; the border, if any, never is. Input and output have one scale.

    Attributes:
      window, strides: (vertical, horizontal).
      padding: ((top, bottom), (left, right)).
    """

    window: Pair
    strides: Pair
    padding: tuple[Pair, Pair]


@dataclasses.dataclass(frozen=True, eq=False)
class AveragePool(Node):
    """The mean code of each window, rounded half away from zero. Input and output have one scale.

    Attributes:
      window, strides, padding: as of `MaxPool`.
      counts_border: whether the border counts, with the code of 0; TensorFlow Lite leaves it out.
    """

    window: Pair
    strides: Pair
    padding: tuple[Pair, Pair]
    counts_border: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Requantize(Node):
    """The same numbers on another scale, clipped: an input quantizer, or a ReLU that follows no sum.

    Attributes:
      stage: from q - zero_point to a code; arrays of one number.
    """

    stage: Rescale


@dataclasses.dataclass(frozen=True, eq=False)
class Threshold(Node):
    """One bit from each code: +1 if sign * (q - zero_point) is at least the threshold, else -1.

    Attributes:
      signs: int32 [channels], +1 or -1.
      values: int32 [channels], the thresholds.
    """

    signs: np.ndarray
    values: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Reshape(Node):
    """The same codes in another shape; nothing is computed, and both tensors may share their memory."""
