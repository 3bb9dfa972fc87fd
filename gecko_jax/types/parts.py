"""The nouns of quantization and clipping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from gecko_jax.types.arrays import Array


class Codes(NamedTuple):
    """Numbers as a device stores them: `(values - zero_point) * scale` is exactly what the quantizer computes with.

    Attributes:
      values: small integers (int8, or int16 for odd numbers of 8 bits; floats for levels that are not integers), of the
        weight's own shape.
      scale: float32 (float64 for float64 weights), broadcastable to `values`; the product is rounded to the weights'
        type.
      bits: bits one value is packed in: 1 for {-1, +1}, 2 for {-1, 0, +1}, k for any 2^k values at most, on a grid or
        not ({0, +-1, +-2, +-4} take 3).
      zero_point: the integer that represents 0: the number 0 for all weights, and an int32 array without axes for
        inputs on an asymmetric grid.
    """

    values: Array
    scale: Array
    bits: int
    zero_point: Array | int = 0


class Quantizer(NamedTuple):
    """A quantization scheme: pure functions, its settings in their closures, its gradient straight-through inside.

    A weight w is shown to it as one layer's [window..., inputs, outputs], whichever way the layer stores it, and the
    layers of a stack one by one (`models.axes`).

    Attributes:
      name: as listed in `gecko_jax.quantizers`.
      bits: bits a quantized value is stored in.
      init: w -> state: () or a tree of arrays, which are trained unless there is an `observe`.
      apply: (state, w, key=None) -> w_hat of w's shape. `key` is for stochastic schemes and for training alone; without
        it the result is the one that is deployed.
      codes: (state, w) -> Codes of apply(state, w), or None if values stay floats.
      gain: (x, layer) -> a factor on the layer's output before its bias (XNOR-Net's K), or None.
      project: w -> w, after each update (BinaryConnect's clip to [-1, 1]), or None.
      rate: w -> a factor on this weight's learning rate (BinaryConnect's 1 / Glorot), or None.
      inputs: whether it serves layer inputs too, that is, couples no two examples of a batch.
      weights: whether it serves weights.
      observe: (state, x) -> state, what training measures on a batch of inputs before it quantizes them (a range); such
        a state has no gradient. None: the state, if any, is trained.
      from_range: (low, high) -> state, that of a grid for inputs in low..high (`models.calibrate`); None for a scheme
        whose grid does not follow its inputs.
      blueprint: (the factory, its arguments as (name, value) pairs), from which `models.load` builds it again; None for
        one that a saved model cannot name.
    """

    name: str
    bits: int
    init: Callable[[Array], Any]
    apply: Callable[..., Array]
    codes: Callable[[Any, Array], Codes] | None = None
    gain: Callable[..., Array] | None = None
    project: Callable[[Array], Array] | None = None
    rate: Callable[[Array], float] | None = None
    inputs: bool = True
    weights: bool = True
    observe: Callable[[Any, Array], Any] | None = None
    from_range: Callable[[Array, Array], Any] | None = None
    blueprint: tuple[Callable[..., Any], tuple[tuple[str, Any], ...]] | None = None


class Rule(NamedTuple):
    """Which layers are quantized, and how: `path` is a regular expression searched in a layer's path ("Dense_0")."""

    path: str
    weight: Quantizer | None = None
    input: Quantizer | None = None


class Clipping(NamedTuple):
    """A clipping rule: how much of each example's gradient goes into the private sum.

    Attributes:
      name: as listed in `gecko_jax.clippings`.
      scale: gradient norms [b, groups] -> factors [b, groups], such that one example's factor * norm, taken together
        over the groups in the L2 norm, never exceeds `sensitivity`.
      sensitivity: L2 bound on one example's contribution to the sum, so the sum's sensitivity under add-or-remove;
        under replace-one it is twice that.
      groups: regular expressions searched in a parameter's path ("Dense_0/kernel"), one for each group, the first that
        is found holds; () for one group of all parameters.
    """

    name: str
    scale: Callable[[Array], Array]
    sensitivity: float
    groups: tuple[str, ...] = ()


class AdaptiveClipping(NamedTuple):
    """A clipping rule whose threshold follows the gradients' norms by a noised count, which costs privacy.

    Attributes:
      name: as listed in `gecko_jax.clippings`.
      start: the threshold of the first step.
      at: threshold (an array of no axes) -> the Clipping of this step; its sensitivity may be an array as well.
      exceeds: (norms [b, groups], threshold) -> float [b] in 0..1, each example's share in the count that is noised.
      update: (threshold, noised count / expected batch size) -> the next step's threshold.
    """

    name: str
    start: float
    at: Callable[[Array], Clipping]
    exceeds: Callable[[Array, Array], Array]
    update: Callable[[Array, Array], Array]
