"""Learned step size (Esser et al. 2020): a k-bit grid whose step is a trained parameter, for weights and for inputs."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from gecko_jax.checks import one_of
from gecko_jax.quantizers.base import (
    above_zero,
    check_bits,
    clip_through,
    filter_axes,
    no_state,
    straight_through,
    wide,
    with_blueprint,
)
from gecko_jax.types import Array, Codes, Quantizer

MIN_STEP = 1e-30  # XLA would flush a subnormal step to 0
STEPS_TRIED = 64  # by start="mse"
BINARY = "for one bit use quantizers.binary()"


@with_blueprint
def lsq(bits: int, per_channel: bool = False, narrow: bool = False, start: str = "mean") -> Quantizer:
    """Quantizes weights to a grid with a trained step: w_hat = round(clip(w / s, -Qn, Qp)) * s (eq. 1-2).

      dw = g 1{-Qn <= w / s <= Qp}
      ds = sum of g * (round(w / s) - w / s inside, -Qn or Qp outside) / sqrt(N Qp)    (eq. 3, section 2.2)

    Qn = 2^(bits-1), Qp = Qn - 1. N counts the weights that share the step. A step that training moves below 0 counts by
    its magnitude.

    Args:
      bits: 2 to 8.
      per_channel: whether each output filter has a step of its own; the paper has one a layer.
      narrow: Qn = Qp, so that 2 bits are {-1, 0, 1} ("1.58 bits") and 8 bits are -127..127.
      start: the step at init. "mean": 2 E|w| / sqrt(Qp), the paper's; "max": max|w| / Qp; "mse": of 64 fractions of the
        latter, the one of least squared error. The last two are for post-training quantization.

    Returns:
      A Quantizer for weights, with the state {"step": float32 [] or [1, ..., outputs]}. It does not serve inputs: see
      `lsq_input`.

    Raises:
      ValueError: bits outside 2..8, another start.

    Source: Esser et al., "Learned Step Size Quantization", ICLR 2020 (arXiv 1902.08153).

    >>> import jax.numpy as jnp
    >>> lsq(2).apply({"step": 0.5}, jnp.array([-3.0, -0.6, 0.2, 3.0])).tolist()
    [-1.0, -0.5, 0.0, 0.5]
    """
    largest = 2 ** (check_bits("lsq", bits, 2, BINARY) - 1) - 1
    one_of("start", start, ("mean", "max", "mse"))
    ends = (-largest if narrow else -largest - 1, largest)
    return learned_step(f"lsq{bits}", bits, ends, first_step(start, ends), per_channel)


def learned_step(name: str, bits: int, ends: tuple[int, int], first: Callable, per_channel: bool) -> Quantizer:
    """Builds a quantizer for weights with a trained step.

    Args:
      name: of the scheme.
      bits: of a code.
      ends: the lowest and the highest integer.
      first: (weights as float32, the axes that share a step) -> the step at init, those axes kept.
      per_channel: see `lsq`.
    """

    def step(state, w):
        s = above_zero(wide(jnp.asarray(state["step"])), MIN_STEP)
        return gradient_scaled(s, 1 / math.sqrt(w.size / s.size * ends[1]))

    def init(w):
        no_state(w)
        axes = filter_axes(w) if per_channel else tuple(range(w.ndim))
        s = first(wide(w), axes)
        s = jnp.where(s >= MIN_STEP, s, 1.0)
        return {"step": s if per_channel else s.reshape(())}

    def apply(state, w, key=None):
        s = step(state, w)
        return (rounded(wide(w) / s, *ends) * s).astype(w.dtype)

    def codes(state, w):
        s = step(state, w)
        return Codes(rounded(wide(w) / s, *ends).astype(jnp.int8), s, bits)

    return Quantizer(name, bits, init, apply, codes, inputs=False)


@with_blueprint
def lsq_input(bits: int, signed: bool = False) -> Quantizer:
    """Quantizes inputs to a grid with a trained step, one a layer: x_hat = round(clip(x / s, -Qn, Qp)) * s.

    The gradients are those of `lsq`, where N counts the features of one example. The step starts at 2 E|x| / sqrt(Qp),
    x being the inputs that `model.init` is given, or where `models.calibrate` puts it.

    Args:
      bits: 2 to 8.
      signed: whether inputs may be negative: Qn = 2^(bits-1), Qp = Qn - 1. If not, as after a ReLU, Qn = 0 and
        Qp = 2^bits - 1.

    Returns:
      A Quantizer for inputs, with the state {"step": float32 []}. It does not serve weights: see `lsq`.

    Raises:
      ValueError: bits outside 2..8.

    Source: Esser et al., "Learned Step Size Quantization", ICLR 2020 (arXiv 1902.08153).

    >>> import jax.numpy as jnp
    >>> lsq_input(2).apply({"step": 0.5}, jnp.array([-3.0, 0.6, 3.0])).tolist()
    [0.0, 0.5, 1.5]
    """
    check_bits("lsq_input", bits, 2, BINARY)
    lowest, highest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    zero = 0 if signed else -(2 ** (bits - 1))

    def step(state, x):
        s = above_zero(wide(jnp.asarray(state["step"])), MIN_STEP)
        return gradient_scaled(s, 1 / math.sqrt(features(x) * highest))

    def apply(state, x, key=None):
        s = step(state, x)
        return (rounded(wide(x) / s, lowest, highest) * s).astype(x.dtype)

    def codes(state, x):
        s = step(state, x)
        return Codes((rounded(wide(x) / s, lowest, highest) + zero).astype(jnp.int8), s, bits, zero)

    def init(x):
        no_state(x)
        s = 2 * jnp.mean(jnp.abs(wide(x))) / math.sqrt(highest)
        return {"step": jnp.where(s >= MIN_STEP, s, 1.0)}

    def from_range(low, high):
        s = jnp.maximum(high / highest, low / lowest if signed else 0.0)
        return {"step": jnp.where(s >= MIN_STEP, s, 1.0)}

    name = f"lsq{bits}_input_signed" if signed else f"lsq{bits}_input"
    return Quantizer(name, bits, init, apply, codes, weights=False, from_range=from_range)


def rounded(ratio: Array, lowest: int, highest: int) -> Array:
    """Rounds numbers in units of the step, half to even, clipped to lowest..highest.

    The gradient is 1 inside the range, its ends included, and 0 outside.

    Args:
      ratio: any shape.
      lowest, highest: the range's ends.

    >>> rounded(jnp.array([-1.5, 0.4, 9.0]), -1, 3).tolist()
    [-1.0, 0.0, 3.0]
    """
    clipped = clip_through(ratio, lowest, highest)
    return straight_through(jnp.round(clipped), clipped)


def gradient_scaled(x: Array, factor: float) -> Array:
    """Returns x to the last bit, with `factor` times its gradient.

    Args:
      x: any shape.
      factor: any number.
    """
    return straight_through(x, x * factor)


def features(x: Array) -> int:
    """Returns how many numbers an example of a batch [b, ...] has."""
    return max(x.size // x.shape[0], 1) if x.ndim else 1


def first_step(start: str, ends: tuple[int, int]) -> Callable[[Array, tuple[int, ...]], Array]:
    """Returns (weights, axes that share a step) -> the step at init.

    Args:
      start: see `lsq`.
      ends: the lowest and the highest integer.
    """
    lowest, highest = ends

    def mean(w, axes):
        return 2 * jnp.mean(jnp.abs(w), axis=axes, keepdims=True) / math.sqrt(highest)

    def top(w, axes):
        return jnp.max(jnp.abs(w), axis=axes, keepdims=True) / highest

    def error(w, axes, s):
        s = jnp.where(s >= MIN_STEP, s, 1.0)
        return jnp.sum((jnp.round(jnp.clip(w / s, lowest, highest)) * s - w) ** 2, axis=axes, keepdims=True)

    def mse(w, axes):
        coarsest = top(w, axes)
        shares = jnp.arange(STEPS_TRIED, 0, -1).astype(w.dtype) * (1 / STEPS_TRIED)
        errors = lax.map(lambda share: error(w, axes, coarsest * share), shares)
        return coarsest * shares[jnp.argmin(errors, axis=0)]

    return {"mean": mean, "max": top, "mse": mse}[start]
